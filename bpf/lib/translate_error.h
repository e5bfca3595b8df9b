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

/* One end of a packet: its source, or where it goes. In the packet inside an error it is the other one. */
enum error_end {
	ERROR_SOURCE = 1 << 0,
	ERROR_INSIDE_ONLY = 1 << 1,	/* who sends the error is not who the packet inside was for */
};

/* Port or id inside, and the transport's checksum if so much of the packet is there. */
static __always_inline bool translate_error__port(struct __sk_buff *skb, const struct packet *p,
						  const struct icmp_error *error, __be16 from,
						  __be16 to, bool is_source, __u32 address_gain,
						  __u64 *gain)
{
	__u32 at = error->l4, check = error->l4, port_gain, check_gain;
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
	if (is_icmp && is_source)	/* one id is both ports, and has been seen to */
		to = from;
	port_gain = sum__gain16(from, to);
	if (is_icmp)
		at += offsetof(struct icmp_header, id);
	else
		at += is_source ? offsetof(struct udphdr, dest) : offsetof(struct udphdr, source);
	if (to != from && bpf_skb_store_bytes(skb, at, &to, sizeof(to), 0))
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
 * One end of both packets. CONTINUE or DROP_TRUNCATED.
 *
 * The sum of all bytes (CHECKSUM_COMPLETE) stays: each header's checksum makes up for what changes in it,
 * and the error's for the rest.
 */
__rare int translate_error__end(struct __sk_buff *skb, const struct packet *p, const struct icmp_error *error,
				const struct translation *to, __u32 end)
{
	bool is_source = end & ERROR_SOURCE, is_outside = !(end & ERROR_INSIDE_ONLY);
	const struct addr *outer, *from, *addr;
	__u32 inner, address_gain, check_gain;
	__u64 gain = 0;

	if (!p || !error || !to)
		return DROP_TRUNCATED;
	inner = p->l4 + sizeof(struct icmp_header);
	outer = is_source ? &p->key.saddr : &p->key.daddr;
	from = is_source ? &error->about.saddr : &error->about.daddr;
	addr = is_source ? &to->saddr : &to->daddr;

	if (p->flags & PACKET_IPV6) {
		__u32 source = offsetof(struct ipv6hdr, saddr);
		__u32 destination = offsetof(struct ipv6hdr, daddr);

		address_gain = sum__gain_ipv6(from, addr);
		gain = address_gain;
		if (is_outside) {
			gain += sum__gain_ipv6(outer, addr);
			if (bpf_skb_store_bytes(skb, L2_LEN + (is_source ? source : destination),
						addr, sizeof(*addr), 0))
				return DROP_TRUNCATED;
		}
		if (bpf_skb_store_bytes(skb, inner + (is_source ? destination : source), addr,
					sizeof(*addr), 0))
			return DROP_TRUNCATED;
	} else {
		__u32 source = offsetof(struct iphdr, saddr);
		__u32 destination = offsetof(struct iphdr, daddr);
		__u32 check = offsetof(struct iphdr, check);
		__be32 ipv4 = addr->w[3];

		address_gain = sum__gain_ipv4(from->w[3], ipv4);
		if (is_outside &&
		    (!sum__update_at(skb, L2_LEN + check, sum__gain_ipv4(outer->w[3], ipv4), false,
				     &check_gain) ||
		     bpf_skb_store_bytes(skb, L2_LEN + (is_source ? source : destination), &ipv4,
					 sizeof(ipv4), 0)))
			return DROP_TRUNCATED;
		if (!sum__update_at(skb, inner + check, address_gain, false, &check_gain) ||
		    bpf_skb_store_bytes(skb, inner + (is_source ? destination : source), &ipv4,
					sizeof(ipv4), 0))
			return DROP_TRUNCATED;
		gain = (__u64)address_gain + check_gain;
	}
	if (!translate_error__port(skb, p, error,
				   is_source ? error->about.sport : error->about.dport,
				   is_source ? to->sport : to->dport, is_source, address_gain, &gain))
		return DROP_TRUNCATED;
	if (bpf_l4_csum_replace(skb, p->l4 + offsetof(struct icmp_header, checksum), 0,
				sum__fold64(gain), 0))
		return DROP_TRUNCATED;
	return CONTINUE;
}

/*
 * `to` is that of the flow row that the error goes along, whose key is error->about. A sender that is not the
 * one whom the packet inside was for, a router perhaps, keeps its address, unless it is to be hidden behind
 * the flow's: `hides_sender`. CONTINUE or DROP_TRUNCATED.
 */
static __always_inline int translate_error(struct __sk_buff *skb, const struct packet *p,
					   const struct icmp_error *error,
					   const struct translation *to, bool hides_sender)
{
	const struct flow_key *about = &error->about;
	bool is_senders = hides_sender || addr__equal(&p->key.saddr, &about->saddr);
	int outcome = CONTINUE;

	if (to->dport != about->dport || !addr__equal(&to->daddr, &about->daddr))
		outcome = translate_error__end(skb, p, error, to, 0);
	if (outcome == CONTINUE && (to->sport != about->sport || hides_sender ||
				    !addr__equal(&to->saddr, &about->saddr)))
		outcome = translate_error__end(skb, p, error, to,
					       ERROR_SOURCE | (is_senders ? 0 : ERROR_INSIDE_ONLY));
	return outcome;
}
