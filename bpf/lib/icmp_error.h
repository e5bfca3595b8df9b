/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What an ICMP error is about: the flow of the packet it carries. */
#pragma once

#include "parse.h"

/* The packet inside an ICMP error, as `about`: its own key, swapped, which is the key of the packets
 * that go where the error goes. False if too little of it is there, or it is not about a packet of
 * the error's receiver. Extension headers inside are not followed: such errors take the stack. */
__rare int parse_icmp_error(struct __sk_buff *skb, const struct packet *p, struct flow_key *about)
{
	__u8 ports[8];				/* RFC 792: the first 8 bytes are there */
	__u32 at;

	if (!p || !about)
		return false;
	at = p->l4 + sizeof(struct icmp_header);

	if (p->flags & PACKET_IPV6) {
		struct ipv6hdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 6)
			return false;
		__builtin_memcpy(&about->saddr, &ip.daddr, sizeof(struct addr));
		__builtin_memcpy(&about->daddr, &ip.saddr, sizeof(struct addr));
		about->proto = ip.nexthdr;
		at += sizeof(ip);
	} else {
		struct iphdr ip;

		if (bpf_skb_load_bytes(skb, at, &ip, sizeof(ip)) || ip.version != 4 || ip.ihl < 5)
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
	switch (about->proto) {
	case IPPROTO_TCP:
	case IPPROTO_UDP:
		if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
			return false;
		about->sport = *(__be16 *)&ports[2];
		about->dport = *(__be16 *)&ports[0];
		return true;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		if (bpf_skb_load_bytes(skb, at, ports, sizeof(ports)))
			return false;
		if (is_icmp_error(about->proto, ports[0]))
			return false;
		icmp_key(about, ports[0], *(__be16 *)&ports[4]);
		return true;
	}
	return !is_extension_header(about->proto);
}
