/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From the bytes of an XDP frame to the same struct packet that parse.h fills in: TCP and UDP behind an IP header
 * without options, extension headers or fragments. All else is left to sb_from_uplink, which reads it again.
 */
#pragma once

#include "parse.h"

static __always_inline bool xdp_parse__transport(const void *l4, const void *end, struct packet *p)
{
	const struct tcphdr *tcp = l4;
	const struct udphdr *udp = l4;

	if (p->key.proto == IPPROTO_TCP) {
		if ((const void *)(tcp + 1) > end || p->l4_len < sizeof(*tcp))
			return false;
		p->tcp_flags = ((const __u8 *)tcp)[13];
	} else if (p->key.proto != IPPROTO_UDP || (const void *)(udp + 1) > end || p->l4_len < sizeof(*udp)) {
		return false;
	}
	p->key.sport = udp->source;	/* TCP has its ports there, too */
	p->key.dport = udp->dest;
	return true;
}

static __always_inline bool xdp_parse__ipv4(const struct iphdr *ip, const void *end, struct packet *p)
{
	__u32 total;

	if ((const void *)(ip + 1) > end || ip->version != 4 || ip->ihl * 4 != sizeof(*ip) ||
	    ip->frag_off & bpf_htons(0x3fff))
		return false;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || total > (__u32)(end - (const void *)ip))
		return false;
	addr__from_ipv4(&p->key.saddr, ip->saddr);
	addr__from_ipv4(&p->key.daddr, ip->daddr);
	p->key.proto = ip->protocol;
	p->ttl = ip->ttl;
	p->tos = ip->tos;
	p->l4 = L2_LEN + sizeof(*ip);
	p->l4_len = total - sizeof(*ip);
	return xdp_parse__transport(ip + 1, end, p);
}

static __always_inline bool xdp_parse__ipv6(const struct ipv6hdr *ip, const void *end, struct packet *p)
{
	if ((const void *)(ip + 1) > end || ip->version != 6)
		return false;
	p->l4_len = bpf_ntohs(ip->payload_len);
	if (p->l4_len > (__u32)(end - (const void *)(ip + 1)))
		return false;
	__builtin_memcpy(&p->key.saddr, &ip->saddr, sizeof(struct addr));
	__builtin_memcpy(&p->key.daddr, &ip->daddr, sizeof(struct addr));
	/* On the wire they mean nothing (RFC 4942 §2.2); here they would pass for IPv4. */
	if (addr__is_ipv4(&p->key.saddr) || addr__is_ipv4(&p->key.daddr))
		return false;
	p->key.proto = ip->nexthdr;
	p->flags = PACKET_IPV6;
	p->ttl = ip->hop_limit;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	p->l4 = L2_LEN + sizeof(*ip);
	return xdp_parse__transport(ip + 1, end, p);
}

/* Fills in `p`, which must be zeroed, from the frame that begins at `eth`. False: not for us to read. */
static __always_inline bool xdp_parse(const struct ethhdr *eth, const void *end, struct packet *p)
{
	if ((const void *)(eth + 1) > end)
		return false;
	if (eth->h_proto == bpf_htons(ETH_P_IP))
		return xdp_parse__ipv4((const void *)(eth + 1), end, p);
	if (eth->h_proto == bpf_htons(ETH_P_IPV6))
		return xdp_parse__ipv6((const void *)(eth + 1), end, p);
	return false;
}
