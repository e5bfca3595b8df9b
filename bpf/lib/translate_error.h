/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors about translated flows: whoever gets one reads in it the address and port that he knows. */
#pragma once

#include "icmp_error.h"
#include "rewrite.h"

/* The checksum at `at` after its data gained that much. *gain is what it itself gained. */
static __always_inline bool sum__update_at(struct __sk_buff *skb, __u32 at, __u32 data_gain, bool is_udp,
					   __u32 *gain)
{
	__sum16 old, new;

	if (bpf_skb_load_bytes(skb, at, &old, sizeof(old)))
		return false;
	*gain = 0;
	if (is_udp && !old)		/* none was made */
		return true;
	new = sum__update(old, data_gain);
	if (is_udp && !new)
		new = 0xffff;
	*gain = sum__gain16(old, new);
	return !bpf_skb_store_bytes(skb, at, &new, sizeof(new), 0);
}

/* Port or id inside, and the transport's checksum if so much of the packet is there. */
static __always_inline bool translate_error__port(struct __sk_buff *skb, const struct packet *p,
						  const struct icmp_error *error, __be16 from,
						  __be16 to, bool is_outgoing, __u32 address_gain,
						  __u64 *gain)
{
	__u32 at = error->l4, check = error->l4, port_gain = sum__gain16(from, to), check_gain;
	bool is_icmp = false;

	switch (error->about.proto) {
	case IPPROTO_TCP:
		check += offsetof(struct tcphdr, check);
		break;
	case IPPROTO_UDP:
		check += offsetof(struct udphdr, check);
		break;
	case IPPROTO_ICMP:
		address_gain = 0;	/* no pseudo header */
		/* fall through */
	case IPPROTO_ICMPV6:
		check += offsetof(struct icmp_header, checksum);
		is_icmp = true;
		break;
	default:
		return false;
	}
	if (is_icmp)
		at += offsetof(struct icmp_header, id);
	else
		at += is_outgoing ? offsetof(struct udphdr, dest) : offsetof(struct udphdr, source);
	if (bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0))
		return false;
	*gain += port_gain;
	if (check + sizeof(__sum16) > p->l4 + p->l4_len)
		return true;
	if (!sum__update_at(skb, check, sum__fold64((__u64)address_gain + port_gain),
			    error->about.proto == IPPROTO_UDP, &check_gain))
		return false;
	*gain += check_gain;
	return true;
}

/*
 * `to` is that of the flow row that the error goes along: of its source if it is outgoing, which the packet
 * inside has as its destination, else the other way round. CONTINUE or DROP_TRUNCATED.
 *
 * The sum of all bytes (CHECKSUM_COMPLETE) stays: each header's checksum makes up for what changes in it,
 * and the error's for the rest.
 */
__rare int translate_error(struct __sk_buff *skb, const struct packet *p, const struct icmp_error *error,
			   const struct translation *to, bool is_outgoing)
{
	const struct addr *outer, *from, *addr;
	__u32 inner, address_gain, check_gain;
	__u64 gain = 0;

	if (!p || !error || !to)
		return DROP_TRUNCATED;
	inner = p->l4 + sizeof(struct icmp_header);
	outer = is_outgoing ? &p->key.saddr : &p->key.daddr;
	from = is_outgoing ? &error->about.saddr : &error->about.daddr;
	addr = is_outgoing ? &to->saddr : &to->daddr;

	if (p->flags & PACKET_IPV6) {
		__u32 source = offsetof(struct ipv6hdr, saddr);
		__u32 destination = offsetof(struct ipv6hdr, daddr);

		address_gain = sum__gain_ipv6(from, addr);
		gain = (__u64)address_gain + sum__gain_ipv6(outer, addr);
		if (bpf_skb_store_bytes(skb, L2_LEN + (is_outgoing ? source : destination), addr,
					sizeof(*addr), 0) ||
		    bpf_skb_store_bytes(skb, inner + (is_outgoing ? destination : source), addr,
					sizeof(*addr), 0))
			return DROP_TRUNCATED;
	} else {
		__u32 source = offsetof(struct iphdr, saddr);
		__u32 destination = offsetof(struct iphdr, daddr);
		__u32 check = offsetof(struct iphdr, check);
		__be32 ipv4 = addr->w[3];

		address_gain = sum__gain_ipv4(from->w[3], ipv4);
		if (!sum__update_at(skb, L2_LEN + check, sum__gain_ipv4(outer->w[3], ipv4), false,
				    &check_gain) ||
		    !sum__update_at(skb, inner + check, address_gain, false, &check_gain))
			return DROP_TRUNCATED;
		gain = (__u64)address_gain + check_gain;
		if (bpf_skb_store_bytes(skb, L2_LEN + (is_outgoing ? source : destination), &ipv4,
					sizeof(ipv4), 0) ||
		    bpf_skb_store_bytes(skb, inner + (is_outgoing ? destination : source), &ipv4,
					sizeof(ipv4), 0))
			return DROP_TRUNCATED;
	}
	if (!translate_error__port(skb, p, error,
				   is_outgoing ? error->about.sport : error->about.dport,
				   is_outgoing ? to->sport : to->dport, is_outgoing, address_gain,
				   &gain))
		return DROP_TRUNCATED;
	if (bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmp_header, checksum), 0,
				sum__fold64(gain), 0))
		return DROP_TRUNCATED;
	return CONTINUE;
}
