/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * From bytes to a flow key: Ethernet, IPv4, IPv6, and the ports of TCP and UDP.
 *
 * This file is the fast path, by direct packet access. What is rare (options, extension headers,
 * fragments, ICMP) goes on in parse_rare.h, by copies. VLAN tags are not followed: programs are
 * attached to the VLAN device, not to its parent.
 */
#pragma once

#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>

#include "addr.h"

/* Bytes before the IP header. A program for devices without Ethernet defines it as 0 first. */
#ifndef L2_LEN
#define L2_LEN ETH_HLEN
#endif

/* Bytes that must be linear for direct access: the longest fast-path headers. */
#define LINEAR_BYTES (L2_LEN + sizeof(struct ipv6hdr) + sizeof(struct tcphdr))

enum packet_flag {
	PACKET_IPV6 = 1 << 0,
	PACKET_FRAGMENT_FIRST = 1 << 1,
	PACKET_FRAGMENT_LATER = 1 << 2,
	PACKET_PORTS_UNKNOWN = 1 << 3,	/* later fragment, nobody recorded the first */
	PACKET_ICMP_ERROR = 1 << 4,	/* the packet it is about begins at l4 + 8 */
	PACKET_NEIGHBOUR = 1 << 5,	/* ICMPv6 ND or MLD: never a flow */
};

/* Any of these leaves the fast path. */
#define PACKET_RARE                                                                               \
	(PACKET_FRAGMENT_FIRST | PACKET_FRAGMENT_LATER | PACKET_ICMP_ERROR | PACKET_NEIGHBOUR)

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

struct packet {
	struct flow_key key;		/* addresses of this packet; ports unless it is an ICMP error */
	__u32 l4;			/* offset of the transport header from the Ethernet header */
	__u32 l4_len;			/* bytes from there to the end of the IP packet */
	__be32 fragment_id;
	__u8 flags;			/* enum packet_flag */
	__u8 ttl;
	__u8 tos;			/* DSCP and ECN */
	__u8 tcp_flags;			/* 0 unless TCP */
	__u8 l4_header_len;		/* TCP and UDP only */
	__u8 icmp_type;			/* ICMP and ICMPv6 only */
	__u8 pad[2];
};

/* What a parse found, or a negative outcome. */
enum parsed {
	PARSED_IP = 0,
	PARSED_ARP = 1,
};

static __always_inline __u32 packet__l3_len(const struct packet *p)
{
	return p->l4 - L2_LEN + p->l4_len;
}

/* What the device says the packet is, is what we have read. A pod on netkit chooses it (AF_PACKET, and
 * the kernel never looks again); on others it comes from the Ethernet header. */
static __always_inline bool packet__is_protocol(const struct __sk_buff *skb, const struct packet *p)
{
	return skb->protocol == (p->flags & PACKET_IPV6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
}

#include "parse_rare.h"

static __always_inline int parse_tcp(const struct tcphdr *tcp, struct packet *p)
{
	p->key.sport = tcp->source;
	p->key.dport = tcp->dest;
	p->tcp_flags = ((const __u8 *)tcp)[13];
	p->l4_header_len = tcp->doff * 4;
	if (unlikely(p->l4_header_len < sizeof(*tcp)))
		return -DROP_BAD_HEADER;
	if (unlikely(p->l4_len < sizeof(*tcp)))
		return -DROP_TRUNCATED;
	return PARSED_IP;
}

static __always_inline int parse_udp(const struct udphdr *udp, struct packet *p)
{
	p->key.sport = udp->source;
	p->key.dport = udp->dest;
	p->l4_header_len = sizeof(*udp);
	if (unlikely(p->l4_len < sizeof(*udp)))
		return -DROP_TRUNCATED;
	return PARSED_IP;
}

/* The transport header behind an IP header without options, at a constant offset. */
static __always_inline int parse_transport(struct __sk_buff *skb, void *l4, void *end,
					   struct packet *p)
{
	if (p->key.proto == IPPROTO_TCP && l4 + sizeof(struct tcphdr) <= end)
		return parse_tcp(l4, p);
	if (p->key.proto == IPPROTO_UDP && l4 + sizeof(struct udphdr) <= end)
		return parse_udp(l4, p);
	return parse_rare_transport(skb, p);
}

static __always_inline int parse_ipv4(struct __sk_buff *skb, void *data, void *end,
				      struct packet *p)
{
	struct iphdr *ip = data + L2_LEN;
	__u32 total, header;

	if (unlikely((void *)(ip + 1) > end))
		return -DROP_TRUNCATED;
	header = ip->ihl * 4;
	if (unlikely(ip->version != 4 || header < sizeof(*ip)))
		return -DROP_BAD_HEADER;
	total = bpf_ntohs(ip->tot_len);
	if (unlikely(!total && skb->gso_size))	/* BIG TCP: longer than the field can say */
		total = skb->len - L2_LEN;
	if (unlikely(total < header))
		return -DROP_BAD_HEADER;
	if (unlikely(total > skb->len - L2_LEN))
		return -DROP_TRUNCATED;

	addr__from_ipv4(&p->key.saddr, ip->saddr);
	addr__from_ipv4(&p->key.daddr, ip->daddr);
	p->key.proto = ip->protocol;
	p->ttl = ip->ttl;
	p->tos = ip->tos;
	p->l4 = L2_LEN + header;
	p->l4_len = total - header;
	if (unlikely(ip->frag_off & bpf_htons(0x3fff))) {
		p->fragment_id = bpf_htonl(bpf_ntohs(ip->id));
		p->flags |= ip->frag_off & bpf_htons(0x1fff) ? PACKET_FRAGMENT_LATER :
							       PACKET_FRAGMENT_FIRST;
		return parse_rare_transport(skb, p);
	}
	if (unlikely(header != sizeof(*ip)))
		return parse_rare_transport(skb, p);
	return parse_transport(skb, ip + 1, end, p);
}

static __always_inline int parse_ipv6(struct __sk_buff *skb, void *data, void *end,
				      struct packet *p)
{
	struct ipv6hdr *ip = data + L2_LEN;
	__u32 payload;

	if (unlikely((void *)(ip + 1) > end))
		return -DROP_TRUNCATED;
	if (unlikely(ip->version != 6))
		return -DROP_BAD_HEADER;
	payload = bpf_ntohs(ip->payload_len);
	if (unlikely(!payload && skb->gso_size))	/* BIG TCP, or a jumbogram header follows */
		payload = skb->len - L2_LEN - sizeof(*ip);
	if (unlikely(payload > skb->len - L2_LEN - sizeof(*ip)))
		return -DROP_TRUNCATED;

	__builtin_memcpy(&p->key.saddr, &ip->saddr, sizeof(struct addr));
	__builtin_memcpy(&p->key.daddr, &ip->daddr, sizeof(struct addr));
	/* On the wire they mean nothing (RFC 4942 §2.2); here they would pass for IPv4. */
	if (unlikely(addr__is_ipv4(&p->key.saddr) || addr__is_ipv4(&p->key.daddr)))
		return -DROP_BAD_HEADER;
	p->key.proto = ip->nexthdr;
	p->flags |= PACKET_IPV6;
	p->ttl = ip->hop_limit;
	p->tos = ip->priority << 4 | ip->flow_lbl[0] >> 4;
	p->l4 = L2_LEN + sizeof(*ip);
	p->l4_len = payload;
	if (unlikely(is_extension_header(ip->nexthdr))) {
		int ret = parse_extension_headers(skb, p);

		return ret < 0 ? ret : parse_rare_transport(skb, p);
	}
	return parse_transport(skb, ip + 1, end, p);
}

/* Fills in `p`, which must be zeroed. PARSED_IP, PARSED_ARP, or a negative outcome. */
static __always_inline int parse(struct __sk_buff *skb, struct packet *p)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__be16 proto = skb->protocol;

	if (unlikely(data + LINEAR_BYTES > end) && skb->len > (__u32)(end - data)) {
		__u32 want = skb->len < LINEAR_BYTES ? skb->len : LINEAR_BYTES;

		if (bpf_skb_pull_data(skb, want))
			return -DROP_TRUNCATED;
		data = (void *)(long)skb->data;
		end = (void *)(long)skb->data_end;
	}
	if (unlikely(data + L2_LEN > end))
		return -DROP_TRUNCATED;
	if (unlikely(skb->vlan_present))	/* the kernel took the tag off the bytes */
		return -DROP_NOT_IP;
	if (L2_LEN)
		proto = ((const struct ethhdr *)data)->h_proto;
	if (proto == bpf_htons(ETH_P_IP))
		return parse_ipv4(skb, data, end, p);
	if (proto == bpf_htons(ETH_P_IPV6))
		return parse_ipv6(skb, data, end, p);
	if (proto == bpf_htons(ETH_P_ARP))
		return PARSED_ARP;
	return -DROP_NOT_IP;
}
