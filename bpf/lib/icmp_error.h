/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What an ICMP error is about: the flow of the packet it carries. */
#pragma once

#include "parse.h"

struct icmp_error {
	struct flow_key about;		/* of the packets that go where the error goes */
	__u32 l4;			/* offset of the transport header inside */
	__u8 icmp_type;			/* of the packet inside, if it is of ICMP */
	__u8 pad[3];
};

/* Bytes past the end of the IP packet are no part of it, though the frame may have them. */
static __always_inline bool icmp_error__load(struct __sk_buff *skb, const struct packet *p, __u32 at,
					     void *to, __u32 bytes)
{
	return at + bytes <= p->l4 + p->l4_len && !bpf_skb_load_bytes(skb, at, to, bytes);
}

/* The packet inside an ICMP error: its own key, swapped. False if too little of it is there, or it is not
 * about a packet of the error's receiver. Of extension headers inside only that of a first fragment is
 * followed: other such errors take the stack. */
__rare int parse_icmp_error(struct __sk_buff *skb, const struct packet *p, struct icmp_error *error)
{
	struct flow_key *about;
	__u8 ports[8];				/* RFC 792: the first 8 bytes are there */
	__u32 at;

	if (!p || !error)
		return false;
	about = &error->about;
	at = p->l4 + sizeof(struct icmp_header);

	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr ip;

		if (!icmp_error__load(skb, p, at, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&about->saddr, &ip.daddr, sizeof(struct addr));
		__builtin_memcpy(&about->daddr, &ip.saddr, sizeof(struct addr));
		about->proto = ip.nexthdr;
		at += sizeof(ip);
		if (about->proto == NEXTHDR_FRAGMENT) {
			struct fragment_header h;

			if (!icmp_error__load(skb, p, at, &h, sizeof(h)) ||
			    h.offset & bpf_htons(0xfff8))
				return false;
			about->proto = h.nexthdr;
			at += sizeof(h);
		}
	} else {
		struct iphdr ip;

		if (!icmp_error__load(skb, p, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
			return false;
		if (ip.frag_off & bpf_htons(0x1fff))
			return false;
		addr__from_ipv4(&about->saddr, ip.daddr);
		addr__from_ipv4(&about->daddr, ip.saddr);
		about->proto = ip.protocol;
		at += ip.ihl * 4;
	}
	if (!addr__equal(&about->daddr, &p->key.daddr))
		return false;
	error->l4 = at;
	switch (about->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		if (!icmp_error__load(skb, p, at, ports, sizeof(ports)))
			return false;
		about->sport = *(__be16 *)&ports[2];
		about->dport = *(__be16 *)&ports[0];
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (!icmp_error__load(skb, p, at, ports, sizeof(ports)))
			return false;
		if (is_icmp_error(about->proto, ports[0]))
			return false;
		error->icmp_type = ports[0];
		icmp_key(about, ports[0], *(__be16 *)&ports[4]);
		return true;
	}
	return !is_extension_header(about->proto);
}
