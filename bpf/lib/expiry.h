/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How flow rows leave: a pair goes when neither direction has been used for the idle time of its protocol and
 * state, or its pod is gone. Walked by sb_sweep, and in parts by a program that finds the table full.
 */
#pragma once

#include "openers.h"

/* Answers: how long is a flow kept that nobody uses? Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct timeouts);
} sb_timeouts SEC(".maps");

/* Rows younger than this are left alone, whatever else holds: their writer may still be at work. */
#define EXPIRY_GRACE_SEC 5

/* UDP that goes on for longer is more than a question and its answer. */
#define UDP_BRIEF_SEC 5

struct expiry {
	const struct timeouts *timeouts;
	__u32 hz;
	bool is_pressed;		/* the table is all but full */
	bool is_recount;		/* the walk counts openers' flows */
	bool is_stale;			/* this one goes, used or not */
};

/* NULL before the agent has said: then nothing expires. */
static __always_inline const struct timeouts *timeouts__get(void)
{
	__u32 zero = 0;
	const struct timeouts *timeouts = bpf_map_lookup_elem(&sb_timeouts, &zero);

	return timeouts && timeouts->tcp_established ? timeouts : NULL;
}

static __always_inline __u32 expiry__tcp_sec(const struct expiry *expiry, const struct flow *flow,
					     bool is_answered)
{
	const struct timeouts *t = expiry->timeouts;

	if (flow__is_closed(flow)) {
		if (way__kind(flow->way) == WAY_STACK && !(flow->flags & FLOW_TRANSLATED))
			return t->tcp_closed;
		return expiry->is_pressed ? t->tcp_closed_pressed : t->tcp_closed_short;
	}
	if (!is_answered)
		return t->tcp_opening;
	return flow->flags & (FLOW_FIN | FLOW_FIN_REPLY) ? t->tcp_closing : t->tcp_established;
}

static __always_inline __u32 expiry__idle_sec(const struct expiry *expiry, const struct flow_key *key,
					      const struct flow *flow, const struct flow *other)
{
	bool is_answered = other && flow->flags & other->flags & FLOW_SEEN;
	__u32 brief;

	switch (key->proto) {
	case IPPROTO_TCP:
		return expiry__tcp_sec(expiry, flow, is_answered);
	case IPPROTO_UDP:
		brief = clock__ticks(UDP_BRIEF_SEC, expiry->hz);
		if (is_answered && (flow->seen - flow->created > brief || other->seen - other->created > brief))
			return expiry->timeouts->udp_stream;
		return expiry->timeouts->udp_brief;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return expiry->timeouts->icmp;
	}
	return expiry->timeouts->other;
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

/* How many rows were removed: 0 if the flow stays. */
static __always_inline __u32 expiry__judge(const struct flow_key *key, const struct flow *flow,
					   const struct expiry *expiry)
{
	__u32 now = clock__now(), seen = READ_ONCE(flow->seen), idle = now - seen;
	__u32 grace = clock__ticks(EXPIRY_GRACE_SEC, expiry->hz);
	struct flow_key other_key = {};
	const struct flow *other;

	if ((__s32)idle < (__s32)grace && !expiry->is_stale)
		return 0;
	flow__other_key(&other_key, key, flow);
	other = flow__find(&other_key);
	if (!flow__is_partner(key, flow, other))
		other = NULL;
	/* One direction alone keeps both: a stream without answers is still one flow. */
	if (other && (__s32)(now - READ_ONCE(other->seen)) < (__s32)idle)
		idle = now - READ_ONCE(other->seen);
	if ((__s32)idle < (__s32)grace && !expiry->is_stale)
		return 0;
	if (!expiry->is_stale && !flow__is_orphan(key, flow) &&
	    idle < clock__ticks(expiry__idle_sec(expiry, key, flow, other), expiry->hz))
		return 0;
	/* By its key once more: what we hold may have moved, or be another flow's row by now. */
	flow = flow__find(key);
	if (!flow || READ_ONCE(flow->seen) != seen)
		return 0;
	if (expiry->is_recount) {
		openers__recount(key, flow);
		if (other)
			openers__recount(&other_key, other);
	}
	return flow__remove(key, flow, &other_key);
}
