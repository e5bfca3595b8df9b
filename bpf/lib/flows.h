/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which way the packets of a flow go, both directions: found, renewed, begun.
 *
 * A row holds for the incarnations of the pods it names; the generation of its way says when its
 * nodes must be looked up again, but a flow that is on the stack way stays there to its end (ADR 0010).
 */
#pragma once

#include "config.h"
#include "expiry.h"
#include "ipcache.h"
#include "parse.h"

/* A SYN on a row of a connection that has ended begins another connection. */
static __always_inline bool flow__is_reopened(const struct flow *flow, __u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && flow__is_closed(flow);
}

/* FIN and RST are rare: the other row is told, so that either one knows when both have ended. */
__rare int flow__note_end(struct flow *flow, const struct packet *p)
{
	struct flow_key key = {};
	struct flow *reverse;

	if (!flow || !p)
		return 0;
	flow->flags |= p->tcp_flags & TCP_RST ? FLOW_RST : FLOW_FIN;
	flow__other_key(&key, &p->key, flow);
	reverse = flow__find(&key);
	if (reverse)
		reverse->flags |= p->tcp_flags & TCP_RST ? FLOW_RST : FLOW_FIN_REPLY;
	return 0;
}

/* On each packet of a flow: says that it lives, with as few writes as will do. */
static __always_inline void flow__touch(struct flow *flow, const struct packet *p)
{
	__u32 now = clock__now();

	if (flow->seen != now)
		flow->seen = now;
	if (unlikely(!(flow->flags & FLOW_SEEN)))
		flow->flags |= FLOW_SEEN;
	if (unlikely(p->tcp_flags & (TCP_FIN | TCP_RST)))
		flow__note_end(flow, p);
}

/* TCP packet of a connection whose beginning we have not seen, or have forgotten. */
static __always_inline bool packet__is_midstream(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

/* Both rows of a flow, as its first packet decides them. */
struct opening {
	__u64 way;
	__u64 way_back;
	__u32 source_incarnation;
	__u32 target_incarnation;
	__u32 source_node;		/* the tunnel packets of this direction come from */
	__u32 target_node;		/* … of the other direction */
	__u32 is_known;			/* the flow lives already: only its way is chosen again */
};

/* The row of a flow that its opener opens again, port for port: nobody has one more by that. */
static __always_inline bool flow__is_opened_by(const struct flow *old, const struct opening *o)
{
	return old && old->flags & FLOW_OPENER && old->source_incarnation == o->source_incarnation &&
	       old->source_node == o->source_node;
}

static __always_inline bool flow__write(const struct flow_key *key, struct flow *row, bool is_known)
{
	const struct flow *old = is_known ? flow__find(key) : NULL;

	row->seen = clock__now();
	row->created = row->seen;
	if (old) {
		row->flags |= old->flags;
		row->created = old->created;
	}
	return !bpf_map_update_elem(&sb_flows, key, row, BPF_ANY);
}

/* CONTINUE or DROP_FLOWS_FULL. Either both rows are written or the flow does not begin. */
__rare int flow__write_both(const struct packet *p, const struct opening *o)
{
	struct flow_key key = {};
	struct flow row = {};

	if (!p || !o)
		return DROP_FLOWS_FULL;
	row.way = o->way_back;
	row.source_incarnation = o->target_incarnation;
	row.target_incarnation = o->source_incarnation;
	row.source_node = o->target_node;
	row.flags = p->tcp_flags & TCP_RST ? FLOW_RST : p->tcp_flags & TCP_FIN ? FLOW_FIN_REPLY : 0;
	flow_key__reverse(&key, &p->key);
	if (!flow__write(&key, &row, o->is_known))
		return DROP_FLOWS_FULL;

	row.way = o->way;
	row.source_incarnation = o->source_incarnation;
	row.target_incarnation = o->target_incarnation;
	row.source_node = o->source_node;
	row.flags = o->is_known ? FLOW_SEEN : FLOW_SEEN | FLOW_OPENER;
	row.flags |= p->tcp_flags & TCP_RST ? FLOW_RST : p->tcp_flags & TCP_FIN ? FLOW_FIN : 0;
	key = p->key;
	if (flow__write(&key, &row, o->is_known))
		return CONTINUE;
	flow_key__reverse(&key, &p->key);
	bpf_map_delete_elem(&sb_flows, &key);
	return DROP_FLOWS_FULL;
}

/* CONTINUE, DROP_FLOWS_FULL, or DROP_FLOW_SHARE if who sends this has opened enough. */
__rare int flow__open(const struct packet *p, const struct opening *o)
{
	struct opener_flows *mine = NULL;
	struct opener opener = {};
	const struct flow *old;
	struct opened *opened;
	struct flow_key key;
	bool is_new;
	int outcome;

	if (!p || !o)
		return DROP_FLOWS_FULL;
	key = p->key;
	old = flow__find(&key);
	if (o->is_known || flow__is_opened_by(old, o))
		return flow__write_both(p, o);
	is_new = !old;
	opened = opened__get();
	if (opener__of(&opener, &key.saddr, o->source_incarnation, o->source_node))
		mine = opener__row(&opener);
	if (mine && opened && !opened__has_room_for(opened, READ_ONCE(mine->flows)))
		return DROP_FLOW_SHARE;
	outcome = flow__write_both(p, o);
	if (outcome != CONTINUE)
		return outcome;
	if (mine)
		__sync_fetch_and_add(&mine->flows, 1);
	if (opened && is_new)
		__sync_fetch_and_add(&opened->flows, 1);
	return CONTINUE;
}

/* There is no room, or none for this sender: worth looking for flows that have expired. */
static __always_inline bool flow__lacks_room(int outcome)
{
	return outcome == DROP_FLOWS_FULL || outcome == DROP_FLOW_SHARE;
}

/* The other direction is on the stack way, and so must this one be. */
static __always_inline bool flow__is_stack_back(const struct packet *p, __u32 source_incarnation,
						__u32 target_incarnation)
{
	struct flow_key key = {};
	const struct flow *back;

	flow_key__reverse(&key, &p->key);
	back = flow__find(&key);
	return back && way__kind(back->way) == WAY_STACK &&
	       back->source_incarnation == target_incarnation &&
	       back->target_incarnation == source_incarnation &&
	       !flow__is_reopened(back, p->tcp_flags);
}
