/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ARP and IPv6 neighbour discovery, as they stand in a packet. */
#pragma once

#include "addr.h"

#define ARPHRD_ETHER 1
#define ARPOP_REQUEST 1
#define ARPOP_REPLY 2

/* RFC 826, for IPv4 over Ethernet. */
struct arp_ipv4 {
	__be16 hardware;
	__be16 protocol;
	__u8 hardware_len;
	__u8 protocol_len;
	__be16 operation;
	__u8 sender_mac[ETH_ALEN];
	__u8 sender[4];
	__u8 target_mac[ETH_ALEN];
	__u8 target[4];
};
_Static_assert(sizeof(struct arp_ipv4) == 28, "arp_ipv4");

#define ND_OPTION_SOURCE_MAC 1
#define ND_OPTION_TARGET_MAC 2

/* RFC 4861 §4.3 and §4.4: solicitation and advertisement, before their options. */
struct nd_message {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be32 flags;
	struct addr target;
};
_Static_assert(sizeof(struct nd_message) == 24, "nd_message");

struct nd_option {
	__u8 type;
	__u8 units;			/* of 8 bytes, this header included */
	__u8 mac[ETH_ALEN];
};
_Static_assert(sizeof(struct nd_option) == 8, "nd_option");
