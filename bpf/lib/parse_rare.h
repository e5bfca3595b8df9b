/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The rare half of parsing: IPv4 options, IPv6 extension headers, fragments, ICMP. Functions of their
 * own, by copies, so that the fast path stays short and the packet need not be linear this far.
 * Included by parse.h only.
 */
#pragma once

/* Extension headers we follow. RFC 8504 §5.3 lets a node set such a limit. */
#define EXTENSION_HEADERS_MAX 6

#define NEXTHDR_HOP 0
#define NEXTHDR_ROUTING 43
#define NEXTHDR_FRAGMENT 44
#define NEXTHDR_AUTH 51
#define NEXTHDR_DEST 60
#define NEXTHDR_MOBILITY 135

/* Numbers of RFC 792, 2710, 3810, 4443 and 4861: linux/icmp.h needs libc's headers for i386. */
#define ICMP_ECHOREPLY 0
#define ICMP_DEST_UNREACH 3
#define ICMP_SOURCE_QUENCH 4
#define ICMP_REDIRECT 5
#define ICMP_ECHO 8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETERPROB 12
#define ICMP_TIMESTAMP 13
#define ICMP_TIMESTAMPREPLY 14
#define ICMPV6_ECHO_REQUEST 128
#define ICMPV6_ECHO_REPLY 129
#define MLD_QUERY 130
#define MLD_REPORT 131
#define MLD_DONE 132
#define ND_ROUTER_SOLICIT 133
#define ND_ROUTER_ADVERT 134
#define ND_NEIGHBOUR_SOLICIT 135
#define ND_NEIGHBOUR_ADVERT 136
#define ND_REDIRECT 137
#define MLD2_REPORT 143

/* First 8 bytes of ICMP and ICMPv6 alike. */
struct icmp_header {
	__u8 type;
	__u8 code;
	__sum16 checksum;
	__be16 id;
	__be16 sequence;
};

struct fragment_header {
	__u8 nexthdr;
	__u8 reserved;
	__be16 offset;			/* 13 bits of offset, 2 reserved, 1 more */
	__be32 id;
};

static __always_inline bool is_extension_header(__u8 nexthdr)
{
	switch (nexthdr) {
	case NEXTHDR_HOP:
	case NEXTHDR_ROUTING:
	case NEXTHDR_FRAGMENT:
	case NEXTHDR_AUTH:
	case NEXTHDR_DEST:
	case NEXTHDR_MOBILITY:
		return true;
	}
	return false;
}

/* Walks from p->l4 to the transport header. Stops at a later fragment: what follows is payload. */
__rare int parse_extension_headers(struct __sk_buff *skb, struct packet *p)
{
	int i;

	if (!p)
		return -DROP_TRUNCATED;
	for (i = 0; i < EXTENSION_HEADERS_MAX; i++) {
		struct fragment_header h;	/* its first two bytes fit every kind */
		__u32 len;

		if (!is_extension_header(p->key.proto))
			return PARSED_IP;
		if (p->l4_len < sizeof(h) || bpf_skb_load_bytes(skb, p->l4, &h, sizeof(h)))
			return -DROP_TRUNCATED;
		switch (p->key.proto) {
		case NEXTHDR_FRAGMENT:
			len = sizeof(h);
			if (!(h.offset & bpf_htons(0xfff9)))
				break;		/* RFC 6946: an atomic fragment is no fragment */
			p->fragment_id = h.id;
			p->flags |= h.offset & bpf_htons(0xfff8) ? PACKET_FRAGMENT_LATER :
								   PACKET_FRAGMENT_FIRST;
			break;
		case NEXTHDR_AUTH:
			len = (h.reserved + 2) * 4;	/* RFC 4302 §2.2 */
			break;
		default:
			len = (h.reserved + 1) * 8;
		}
		if (len > p->l4_len)
			return -DROP_TRUNCATED;
		p->key.proto = h.nexthdr;
		p->l4 += len;
		p->l4_len -= len;
		if (p->flags & PACKET_FRAGMENT_LATER)
			return PARSED_IP;
	}
	return is_extension_header(p->key.proto) ? -DROP_EXTENSION_HEADERS : PARSED_IP;
}

static __always_inline bool is_icmp_error(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMPV6)
		return type < 128;		/* RFC 4443 §2.1 */
	return type == ICMP_DEST_UNREACH || type == ICMP_SOURCE_QUENCH || type == ICMP_REDIRECT ||
	       type == ICMP_TIME_EXCEEDED || type == ICMP_PARAMETERPROB;
}

static __always_inline enum icmp_class icmp_class_of(__u8 proto, __u8 type)
{
	if (proto == IPPROTO_ICMPV6)
		return type == ICMPV6_ECHO_REQUEST || type == ICMPV6_ECHO_REPLY ? ICMP_CLASS_ECHO :
										  ICMP_CLASS_OTHER;
	if (type == ICMP_ECHO || type == ICMP_ECHOREPLY)
		return ICMP_CLASS_ECHO;
	if (type == ICMP_TIMESTAMP || type == ICMP_TIMESTAMPREPLY)
		return ICMP_CLASS_TIMESTAMP;
	return ICMP_CLASS_OTHER;
}

static __always_inline bool is_echo_request(__u8 proto, __u8 type)
{
	return type == (proto == IPPROTO_ICMPV6 ? ICMPV6_ECHO_REQUEST : ICMP_ECHO);
}

/* Request and reply have one id, so the key of one is the other's with addresses swapped. */
static __always_inline void icmp_key(struct flow_key *key, __u8 type, __be16 id)
{
	key->icmp_class = icmp_class_of(key->proto, type);
	if (key->icmp_class != ICMP_CLASS_OTHER) {
		key->sport = id;
		key->dport = id;
	}
}

static __always_inline int parse_icmp(struct __sk_buff *skb, struct packet *p)
{
	struct icmp_header icmp;

	if (p->l4_len < sizeof(icmp) || bpf_skb_load_bytes(skb, p->l4, &icmp, sizeof(icmp)))
		return -DROP_TRUNCATED;
	p->icmp_type = icmp.type;
	if (is_icmp_error(p->key.proto, icmp.type)) {
		p->key.icmp_class = ICMP_CLASS_OTHER;
		p->flags |= PACKET_ICMP_ERROR;
		return PARSED_IP;
	}
	if (p->key.proto == IPPROTO_ICMPV6 &&
	    ((icmp.type >= MLD_QUERY && icmp.type <= ND_REDIRECT) || icmp.type == MLD2_REPORT))
		p->flags |= PACKET_NEIGHBOUR;
	icmp_key(&p->key, icmp.type, icmp.id);
	return PARSED_IP;
}

/* The transport header wherever it is. Unknown protocols are flows by addresses and protocol. */
__rare int parse_rare_transport(struct __sk_buff *skb, struct packet *p)
{
	struct tcphdr tcp;

	if (!p)
		return -DROP_TRUNCATED;
	if (p->flags & PACKET_FRAGMENT_LATER)
		return PARSED_IP;
	switch (p->key.proto) {
	case IPPROTO_TCP:
		if (p->l4_len < sizeof(tcp) || bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(tcp)))
			return -DROP_TRUNCATED;
		p->key.sport = tcp.source;
		p->key.dport = tcp.dest;
		p->tcp_flags = ((__u8 *)&tcp)[13];
		p->l4_header_len = tcp.doff * 4;
		return tcp.doff < 5 ? -DROP_BAD_HEADER : PARSED_IP;
	case IPPROTO_UDP:
		if (p->l4_len < sizeof(struct udphdr) ||
		    bpf_skb_load_bytes(skb, p->l4, &tcp, sizeof(struct udphdr)))
			return -DROP_TRUNCATED;
		p->key.sport = tcp.source;	/* ports are where TCP has them */
		p->key.dport = tcp.dest;
		p->l4_header_len = sizeof(struct udphdr);
		return PARSED_IP;
	case IPPROTO_ICMP:
		if (p->flags & PACKET_IPV6)
			return PARSED_IP;
		return parse_icmp(skb, p);
	case IPPROTO_ICMPV6:
		if (!(p->flags & PACKET_IPV6))
			return PARSED_IP;
		return parse_icmp(skb, p);
	}
	return PARSED_IP;
}
