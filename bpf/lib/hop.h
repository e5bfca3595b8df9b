/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the short way owes routing: TTL, MTU, and the addresses of the next link. */
#pragma once

#include "parse.h"

/* CONTINUE if the packet may go on by the short way; else the stack gets it untouched, and tells
 * the sender what we would have to. mtu 0 is not checked. */
static __always_inline int hop__check(struct __sk_buff *skb, const struct packet *p, __u32 mtu)
{
	if (unlikely(p->ttl <= 1))
		return PASS_STACK_TTL;
	if (unlikely(mtu && packet__l3_len(p) > mtu)) {
		__u32 segment = p->l4 - L2_LEN + p->l4_header_len + skb->gso_size;

		if (!skb->gso_size || segment > mtu)
			return PASS_STACK_MTU;
	}
	return CONTINUE;
}

/* One hop less, checksums kept right. The packet was parsed: its headers are there. */
static __always_inline int hop__count(struct __sk_buff *skb, const struct packet *p)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr *ip = data + L2_LEN;

		if (unlikely((void *)(ip + 1) > end))
			return DROP_TRUNCATED;
		ip->hop_limit--;
	} else {
		struct iphdr *ip = data + L2_LEN;
		__u32 check;

		if (unlikely((void *)(ip + 1) > end))
			return DROP_TRUNCATED;
		ip->ttl--;
		check = (__u32)ip->check + bpf_htons(0x0100);	/* RFC 1624 */
		ip->check = check + (check >= 0xffff);
	}
	return CONTINUE;
}

/*
 * The device that a packet came by may have summed all of it (CHECKSUM_COMPLETE); else a no-op. IPv4
 * needs no such thing: its header's own checksum makes up for the TTL. Nor does what goes into a
 * tunnel: whoever encapsulates it forgets that sum (iptunnel_handle_offloads).
 */
static __always_inline void hop__keep_sum(struct __sk_buff *skb, const struct packet *p)
{
	if (p->flags & PACKET_IPV6)
		bpf_csum_update(skb, ~(__u32)bpf_htons(1));
}

/* All of it, for packets that are not tunnelled. CONTINUE: it is on its next hop. */
static __always_inline int hop__take(struct __sk_buff *skb, const struct packet *p, __u32 mtu)
{
	int outcome = hop__check(skb, p, mtu);

	if (outcome == CONTINUE)
		outcome = hop__count(skb, p);
	if (outcome == CONTINUE)
		hop__keep_sum(skb, p);
	return outcome;
}

/* Redirects to another device are of frames, if only to take the header off: for what came by a device that has
 * none. */
static __always_inline bool hop__add_ethernet(struct __sk_buff *skb)
{
	void *data, *end;

	if (L2_LEN)
		return true;
	if (bpf_skb_change_head(skb, ETH_HLEN, 0))
		return false;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (data + ETH_HLEN > end)
		return false;
	((struct ethhdr *)data)->h_proto = skb->protocol;
	return true;
}

/* Unaligned halves of an Ethernet header, so that the compiler does not copy byte by byte. */
struct mac_pair {
	__u32 words[3];
} __attribute__((packed, may_alias));

struct mac_one {
	__u32 word;
	__u16 half;
} __attribute__((packed, may_alias));

_Static_assert(offsetof(struct endpoint, host_mac) == offsetof(struct endpoint, pod_mac) + 6,
	       "destination and source of a packet to the pod, as they stand in its header");
