/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Fragments: the first one has the ports, the later ones borrow them. */
#pragma once

#include "parse.h"

/* Answers: which ports has the first fragment of this packet? Written by the programs; an LRU, since
 * a lost row only means that a later fragment takes the stack. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct fragment_key);
	__type(value, struct fragment_ports);
} sb_fragments SEC(".maps");

/* Call after the source was checked: else a pod could name ports for another's fragments. */
__rare int fragment__resolve(struct packet *p)
{
	struct fragment_key key = {};

	if (!p)
		return 0;
	key.saddr = p->key.saddr;
	key.daddr = p->key.daddr;
	key.id = p->fragment_id;
	key.proto = p->flags & PACKET_IPV6 ? 0 : p->key.proto;
	if (p->flags & PACKET_FRAGMENT_FIRST) {
		struct fragment_ports first = {
			.sport = p->key.sport,
			.dport = p->key.dport,
			.proto = p->key.proto,
			.icmp_class = p->key.icmp_class,
			.icmp_type = p->icmp_type,
		};

		bpf_map_update_elem(&sb_fragments, &key, &first, BPF_ANY);
	} else {
		const struct fragment_ports *first = bpf_map_lookup_elem(&sb_fragments, &key);

		if (!first) {
			p->flags |= PACKET_PORTS_UNKNOWN;
			return 0;
		}
		p->key.sport = first->sport;
		p->key.dport = first->dport;
		p->key.proto = first->proto;
		p->key.icmp_class = first->icmp_class;
		p->icmp_type = first->icmp_type;
	}
	return 0;
}
