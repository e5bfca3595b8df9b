/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The gateway that pods route by: an address that no device has, so its MAC is ours to tell.
 *
 * A pod is born knowing it for good, and forgets it when its own MAC is changed (ADR 0016). The answer
 * goes back where the question came from and nowhere else, to whatever MAC it was asked from.
 */
#pragma once

#include "neighbour.h"
#include "parse.h"
#include "verdict.h"

/* POD_GATEWAY_IPV4 and POD_GATEWAY_IPV6 of agent/src/marks.ts: 169.254.1.1 and fe80::1. */
#define GATEWAY_IPV4 bpf_htonl(0xa9fe0101)
#define GATEWAY_IPV6 { .b = { 0xfe, 0x80, [15] = 1 } }

#define ND_FLAG_ROUTER 0x80000000
#define ND_FLAG_SOLICITED 0x40000000
#define ND_FLAG_OVERRIDE 0x20000000

/* A neighbour advertisement with the address option, from the IPv6 header on. */
struct nd_answer {
	struct ipv6hdr ip;
	struct nd_message nd;
	struct nd_option option;
};
_Static_assert(sizeof(struct nd_answer) == 72, "nd_answer");

static __always_inline bool gateway__is_ipv4(const __u8 addr[4])
{
	__be32 ipv4;

	__builtin_memcpy(&ipv4, addr, sizeof(ipv4));
	return ipv4 == GATEWAY_IPV4;
}

static __always_inline bool gateway__is_ipv6(const struct addr *addr)
{
	const struct addr gateway = GATEWAY_IPV6;

	return addr__equal(addr, &gateway);
}

/* The mark: sb_to_pod runs next, and has nothing left to do. */
static __always_inline int gateway__reply(struct __sk_buff *skb)
{
	skb->mark = SB_DONE;
	redirect__note(skb, REDIRECT_DEVICE, skb->ifindex);
	bpf_redirect(skb->ifindex, 0);
	return PASS_GATEWAY;
}

/* Turns the question into its answer. `mac` is the gateway's. */
static __always_inline int gateway__answer_arp(struct __sk_buff *skb, struct arp_ipv4 *arp,
					       const __u8 mac[ETH_ALEN])
{
	struct ethhdr eth = { .h_proto = bpf_htons(ETH_P_ARP) };
	__be32 gateway = GATEWAY_IPV4;

	__builtin_memcpy(eth.h_dest, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	arp->operation = bpf_htons(ARPOP_REPLY);
	__builtin_memcpy(arp->target_mac, arp->sender_mac, ETH_ALEN);
	__builtin_memcpy(arp->target, arp->sender, sizeof(arp->target));
	__builtin_memcpy(arp->sender_mac, mac, ETH_ALEN);
	__builtin_memcpy(arp->sender, &gateway, sizeof(gateway));
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, arp, sizeof(*arp), 0))
		return DROP_TRUNCATED;
	return gateway__reply(skb);
}

/* The same for a neighbour solicitation that came from the MAC `asker`. */
static __always_inline int gateway__answer_nd(struct __sk_buff *skb, const struct packet *p,
					      const __u8 asker[ETH_ALEN], const __u8 mac[ETH_ALEN])
{
	struct ethhdr eth = { .h_proto = bpf_htons(ETH_P_IPV6) };
	const __u16 length = sizeof(struct nd_message) + sizeof(struct nd_option);
	const struct addr gateway = GATEWAY_IPV6;
	struct nd_answer answer = {};
	__s64 sum;

	__builtin_memcpy(eth.h_dest, asker, ETH_ALEN);
	__builtin_memcpy(eth.h_source, mac, ETH_ALEN);
	answer.ip.version = 6;
	answer.ip.payload_len = bpf_htons(length);
	answer.ip.nexthdr = IPPROTO_ICMPV6;
	answer.ip.hop_limit = 255;	/* RFC 4861 §7.1 */
	__builtin_memcpy(&answer.ip.saddr, &gateway, sizeof(gateway));
	__builtin_memcpy(&answer.ip.daddr, &p->key.saddr, sizeof(gateway));
	answer.nd.type = ND_NEIGHBOUR_ADVERT;
	answer.nd.flags = bpf_htonl(ND_FLAG_ROUTER | ND_FLAG_SOLICITED | ND_FLAG_OVERRIDE);
	answer.nd.target = gateway;
	answer.option.type = ND_OPTION_TARGET_MAC;
	answer.option.units = 1;
	__builtin_memcpy(answer.option.mac, mac, ETH_ALEN);
	/* RFC 8200 §8.1: the addresses stand before the message, so one sum takes in both. */
	sum = bpf_csum_diff(NULL, 0, (__be32 *)&answer.ip.saddr, 2 * sizeof(gateway) + length,
			    bpf_htonl(length + IPPROTO_ICMPV6));
	if (sum < 0)
		return DROP_TRUNCATED;
	sum = (sum & 0xffff) + ((__u32)sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	answer.nd.checksum = ~sum;
	if (skb->len != ETH_HLEN + sizeof(answer) &&
	    bpf_skb_change_tail(skb, ETH_HLEN + sizeof(answer), 0))
		return DROP_TRUNCATED;
	if (bpf_skb_store_bytes(skb, 0, &eth, sizeof(eth), 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof(answer), 0))
		return DROP_TRUNCATED;
	return gateway__reply(skb);
}
