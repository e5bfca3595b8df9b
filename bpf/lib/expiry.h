/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How flow rows leave: a pair goes when neither direction has been used for its idle time, or its
 * pod is gone. Walked by sb_sweep now and then, and by a program that finds the table full.
 */
#pragma once

#include "openers.h"

/* Rows younger than this are left alone, whatever else holds: their writer may still be at work. */
#define EXPIRY_GRACE_SEC 5

struct expiry {
	struct sweep sweep;
	__u32 now;
	__u32 hz;
	__u32 is_recount;
	__u32 kept;
};

static __always_inline __u32 expiry__idle_sec(const struct sweep *sweep, const struct flow_key *key,
					      const struct flow *flow, const struct flow *reverse)
{
	switch (key->proto) {
	case IPPROTO_TCP:
		if (flow__is_closed(flow))
			return sweep->tcp_closing_sec;
		if (!reverse || !(flow->flags & reverse->flags & FLOW_SEEN))
			return sweep->tcp_opening_sec;
		return sweep->tcp_established_sec;
	case IPPROTO_UDP:
		return sweep->udp_sec;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return sweep->icmp_sec;
	}
	return sweep->other_sec;
}

/* The pod the row names is gone or its address was given out again. */
static __always_inline bool flow__is_orphan(const struct flow_key *key, const struct flow *flow)
{
	if (flow->source_incarnation &&
	    endpoint__incarnation(endpoint__find(&key->saddr)) != flow->source_incarnation)
		return true;
	return flow->target_incarnation &&
	       endpoint__incarnation(endpoint__find(flow__target(key, flow))) !=
		       flow->target_incarnation;
}

/* Removes both rows of a flow, found under `key`; `other_key` is room to work in. The other one goes first: if
 * we are stopped between, what is left is looked at again. How many were there. */
static __always_inline __u32 flow__remove(const struct flow_key *key, const struct flow *flow,
					  struct flow_key *other_key)
{
	const struct flow *other;
	__u32 removed = 0;

	__builtin_memset(other_key, 0, sizeof(*other_key));
	flow__other_key(other_key, key, flow);
	other = flow__find(other_key);
	opener__forget_one(key, flow);
	if (flow__is_partner(key, flow, other)) {
		opener__forget_one(other_key, other);
		if (!bpf_map_delete_elem(&sb_flows, other_key))
			removed++;
	}
	if (!bpf_map_delete_elem(&sb_flows, key))
		removed++;
	return removed;
}

/* True if the row was removed. */
static __always_inline bool expiry__judge(struct flow_key *key, struct flow *flow,
					 struct expiry *expiry)
{
	struct flow_key reverse_key = {};
	struct flow *reverse;
	__u32 idle = expiry->now - flow->seen, limit;

	expiry->sweep.rows++;
	if ((__s32)idle < (__s32)clock__ticks(EXPIRY_GRACE_SEC, expiry->hz))
		return false;
	flow__other_key(&reverse_key, key, flow);
	reverse = bpf_map_lookup_elem(&sb_flows, &reverse_key);
	if (!flow__is_orphan(key, flow)) {
		limit = clock__ticks(expiry__idle_sec(&expiry->sweep, key, flow, reverse),
				      expiry->hz);
		if (idle < limit)
			return false;
		/* One direction alone keeps both: a stream without answers is still one flow. */
		if (reverse && expiry->now - reverse->seen < limit)
			return false;
	}
	/* The other row first: if we are stopped between, what is left is looked at again. */
	if (reverse && !bpf_map_delete_elem(&sb_flows, &reverse_key))
		expiry->sweep.removed++;
	if (!bpf_map_delete_elem(&sb_flows, key))
		expiry->sweep.removed++;
	return true;
}

static long expiry__visit(void *map, struct flow_key *key, struct flow *flow,
			  struct expiry *expiry)
{
	if (expiry__judge(key, flow, expiry))
		return 0;
	expiry->kept++;
	if (expiry->is_recount)
		openers__recount(key, flow);
	return 0;
}

static __always_inline void expiry__run(struct expiry *expiry)
{
	expiry->now = clock__now();
	expiry->hz = clock__hz();
	expiry->is_recount = openers__begin_recount();
	bpf_for_each_map_elem(&sb_flows, expiry__visit, expiry, 0);
	if (expiry->is_recount)
		openers__end_recount(expiry->kept);
}

/* Answers: when did a program last look for expired rows, because the table was full? Written by
 * the programs, one row. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sb_reclaim SEC(".maps");

/* A walk of the whole table costs milliseconds in softirq: not more often than this. */
#define RECLAIM_PAUSE_SEC 4

/* The table is full: removes what has expired, so that a node without its agent, and so without
 * sb_sweep, is not without new flows for ever. Idle times are those of DEFAULT_SWEEP (layouts.ts).
 * False if nothing was removed or another program has just tried. */
__rare int flows__reclaim(void)
{
	struct expiry expiry = {
		.sweep = {
			.tcp_established_sec = 8000,
			.tcp_opening_sec = 130,
			.tcp_closing_sec = 130,
			.udp_sec = 200,
			.icmp_sec = 60,
			.other_sec = 620,
		},
	};
	__u32 zero = 0, now = clock__now(), last;
	__u32 *at = bpf_map_lookup_elem(&sb_reclaim, &zero);

	if (!at)
		return false;
	last = READ_ONCE(*at);
	if (last && now - last < clock__ticks(RECLAIM_PAUSE_SEC, clock__hz()))
		return false;
	if (__sync_val_compare_and_swap(at, last, now) != last)
		return false;
	expiry__run(&expiry);
	return expiry.sweep.removed;
}
