/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table itself: rows come in pairs, one per direction, made on the first packet.
 *
 * The path reads and writes rows in place, without a lock: a row may be removed and its memory used
 * for another flow under our hands, so only hints (seen, flags) are written through a pointer, and
 * the rest by key.
 */
#pragma once

#include "addr.h"
#include "clock.h"
#include "endpoints.h"

/* Answers: is this packet part of a flow, and which way does that go? Written by the programs,
 * emptied by sb_sweep and, when full, by flows__reclaim. Not an LRU: that evicts live flows, early,
 * and on failing inserts (docs/packet-path.md). Preallocated: a new flow fails for want of room
 * only, never because a burst ran the allocator dry, and memory is refused at start, not later. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__type(key, struct flow_key);
	__type(value, struct flow);
} sb_flows SEC(".maps");

static __always_inline __u64 way__make(enum way_kind kind, __u32 node, __u32 generation)
{
	return (__u64)kind << 56 | (__u64)(node & 0xffffff) << 32 | generation;
}

static __always_inline enum way_kind way__kind(__u64 way)
{
	return way >> 56;
}

static __always_inline __u32 way__node(__u64 way)
{
	return way >> 32 & 0xffffff;
}

static __always_inline __u32 way__generation(__u64 way)
{
	return way;
}

static __always_inline void flow_key__reverse(struct flow_key *to, const struct flow_key *from)
{
	to->saddr = from->daddr;
	to->daddr = from->saddr;
	to->sport = from->dport;
	to->dport = from->sport;
	to->proto = from->proto;
	to->icmp_class = from->icmp_class;
}

/* The key of the other direction's row. */
static __always_inline void flow__other_key(struct flow_key *to, const struct flow_key *key,
					    const struct flow *flow)
{
	if (likely(!(flow->flags & FLOW_TRANSLATED))) {
		flow_key__reverse(to, key);
		return;
	}
	to->saddr = flow->to.daddr;
	to->daddr = flow->to.saddr;
	to->sport = flow->to.dport;
	to->dport = flow->to.sport;
	to->proto = key->proto;
	to->icmp_class = key->icmp_class;
}

/* Whom the row's packets reach in the end. */
static __always_inline const struct addr *flow__target(const struct flow_key *key,
						       const struct flow *flow)
{
	return flow->flags & FLOW_TRANSLATED ? &flow->to.daddr : &key->daddr;
}

/* The answers of a translated flow come to whoever began it under its own address, not the node's: the port is
 * its own, too. */
static __always_inline bool flow__keeps_source(const struct flow_key *back, const struct flow *flow)
{
	return flow->flags & FLOW_SERVICE && addr__equal(&back->daddr, &flow->to.daddr);
}

static __always_inline struct flow *flow__find(const struct flow_key *key)
{
	return bpf_map_lookup_elem(&sb_flows, key);
}

/* A new row as of now. BPF_NOEXIST where another flow may have the key: that reserves it. */
static __always_inline long flow__insert(const struct flow_key *key, struct flow *row,
					 __u64 map_flags)
{
	row->seen = clock__now();
	row->created = row->seen;
	return bpf_map_update_elem(&sb_flows, key, row, map_flags);
}

/* Is `other` the row of the other direction? It may have gone, and its key be another flow's by now. */
static __always_inline bool flow__is_partner(const struct flow_key *key, const struct flow *flow,
					     const struct flow *other)
{
	if (!other || (flow->flags ^ other->flags) & FLOW_TRANSLATED)
		return false;
	return !(flow->flags & FLOW_TRANSLATED) ||
	       (other->to.sport == key->dport && other->to.dport == key->sport &&
		addr__equal(&other->to.saddr, &key->daddr) &&
		addr__equal(&other->to.daddr, &key->saddr));
}

/* First flags of the row of answers: they pass elsewhere, and whoever goes on has had one. */
static __always_inline __u32 way__unseen_flags(__u64 way)
{
	return way__kind(way) == WAY_DSR ? FLOW_SEEN : 0;
}

static __always_inline bool flow__is_closed(const struct flow *flow)
{
	return flow->flags & FLOW_RST ||
	       (flow->flags & (FLOW_FIN | FLOW_FIN_REPLY)) == (FLOW_FIN | FLOW_FIN_REPLY);
}

/* By a SYN. Where answers pass elsewhere the other side's end is not seen. */
static __always_inline bool flow__may_reopen(const struct flow *flow)
{
	return flow__is_closed(flow) ||
	       (flow->flags & FLOW_FIN && way__kind(READ_ONCE(flow->way)) == WAY_DSR);
}
