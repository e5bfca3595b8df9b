/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which way the packets of a flow go, both directions: found, renewed, begun.
 *
 * A row holds for the incarnations of the pods it names; the generation of its way says when its
 * nodes must be looked up again, but a flow that is on the stack way stays there to its end (ADR 0010).
 */
#pragma once

#include "config.h"
#include "ipcache.h"
#include "parse.h"
#include "ports.h"
#include "reclaim.h"

/* A SYN on a row of a connection that has ended begins another connection. */
static __always_inline bool flow__is_reopened(const struct flow *flow, __u8 tcp_flags)
{
	return (tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN && flow__may_reopen(flow);
}

/* Both directions' packets write both rows: no bit of another CPU's is lost, and none of a row that is another
 * flow's by now. */
static __always_inline void flow__set(struct flow *flow, __u32 flag)
{
	__sync_fetch_and_or(&flow->flags, flag);
}

/* TCP packet of a connection whose beginning we have not seen, or have forgotten. */
static __always_inline bool packet__is_midstream(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP && (p->tcp_flags & (TCP_SYN | TCP_ACK)) != TCP_SYN;
}

/* A TCP segment that is more than the first one acknowledges something, and who does not know the connection answers
 * with a reset. What acknowledges nothing, and resets, may be dropped without a word: they show nothing. */
static __always_inline bool packet__acknowledges(const struct packet *p)
{
	return p->key.proto != IPPROTO_TCP || (p->tcp_flags & (TCP_ACK | TCP_RST)) == TCP_ACK;
}

/* The first flags of the opener's row. A segment may be anybody's, under any address: its opener is seen once
 * it goes on, and the connection is no more than half open until then. */
static __always_inline __u32 flow__opener_flags(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP ? FLOW_OPENER : FLOW_OPENER | FLOW_SEEN;
}

/*
 * What is new of a flow's state, told to both rows. An acknowledgement behind a RST shows that the RST was not its
 * connection's, or was not believed: anybody who knows the ports can send one.
 */
__rare int flow__note(struct flow *flow, const struct packet *p)
{
	struct flow_key key = {};
	struct flow *other;

	if (!flow || !p)
		return 0;
	if (packet__acknowledges(p))
		flow__set(flow, FLOW_SEEN);
	if (!(p->tcp_flags & (TCP_FIN | TCP_RST)) && !(flow->flags & FLOW_RST))
		return 0;
	flow__other_key(&key, &p->key, flow);
	other = flow__find(&key);
	if (!flow__is_partner(&p->key, flow, other))
		other = NULL;
	if (p->tcp_flags & TCP_RST) {
		flow__set(flow, FLOW_RST);
		if (other)
			flow__set(other, FLOW_RST);
	} else if (p->tcp_flags & TCP_FIN) {
		flow__set(flow, FLOW_FIN);
		if (other)
			flow__set(other, FLOW_FIN_REPLY);
	} else if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_ACK) {
		__sync_fetch_and_and(&flow->flags, ~FLOW_RST);
		if (other)
			__sync_fetch_and_and(&other->flags, ~FLOW_RST);
	}
	return 0;
}

/* Where the other direction of a translated flow goes: back to whom this one comes from. */
static __always_inline __u64 flow__way_back(const struct flow *flow, const struct config *config)
{
	/* Of an old generation: where exactly is looked up by its next packet. */
	__u32 generation = READ_ONCE(config->generation) - 1;

	if (way__kind(flow->way) == WAY_STACK)
		return way__make(WAY_STACK, flow->source_node, generation);
	if (flow->source_incarnation)
		return way__make(WAY_LOCAL, 0, generation);
	if (flow->source_node)
		return way__make(config->flags & CONFIG_NATIVE ? WAY_UPLINK : WAY_NODE, flow->source_node,
				 generation);
	return way__make(WAY_OUT, 0, generation);
}

/* The other node that packets of the other direction come from. */
static __always_inline __u32 flow__target_node(const struct flow *flow)
{
	__u64 way = flow->way;

	return way__kind(way) == WAY_OUT ? 0 : way__node(way);
}

/*
 * Makes the other row of a translated flow if it is not there: without it answers do not come back, or
 * another flow takes the port. CONTINUE, or DROP_TRANSLATION_TAKEN if one has: then this row goes too.
 */
__rare int flow__mend(const struct packet *p, const struct flow *flow)
{
	const struct config *config = config__get();
	struct flow_key key = {}, other_key = {};
	const struct flow *other;
	struct flow row = {};

	if (!p || !flow || !config)
		return CONTINUE;
	key = p->key;
	flow__other_key(&other_key, &key, flow);
	other = flow__find(&other_key);
	if (likely(flow__is_partner(&key, flow, other)))
		return CONTINUE;
	if (!other) {
		row.way = flow__way_back(flow, config);
		row.source_incarnation = flow->target_incarnation;
		row.target_incarnation = flow->source_incarnation;
		row.source_node = flow__target_node(flow);
		row.flags = FLOW_TRANSLATED | (flow->flags & (FLOW_SERVICE | FLOW_RST)) |
			    way__unseen_flags(flow->way) |
			    (flow->flags & FLOW_OPENER ? 0 : FLOW_OPENER) |
			    (flow->flags & FLOW_FIN ? FLOW_FIN_REPLY : 0) |
			    (flow->flags & FLOW_FIN_REPLY ? FLOW_FIN : 0);
		row.to.saddr = key.daddr;
		row.to.daddr = key.saddr;
		row.to.sport = key.dport;
		row.to.dport = key.sport;
		if (!flow__insert(&other_key, &row, BPF_NOEXIST))
			return CONTINUE;
		other = flow__find(&other_key);
		/* No room, and tried again; or another CPU was faster. */
		if (!other || flow__is_partner(&key, flow, other))
			return CONTINUE;
	}
	bpf_map_delete_elem(&sb_flows, &key);
	return DROP_TRANSLATION_TAKEN;
}

/* On each packet of a flow: says that it lives, with as few writes as will do. CONTINUE, or
 * DROP_TRANSLATION_TAKEN for a translated row (asked once a tick). */
static __always_inline int flow__touch(struct flow *flow, const struct packet *p)
{
	__u32 now = clock__now(), flags = flow->flags;

	if (unlikely((flags & (FLOW_SEEN | FLOW_RST)) != FLOW_SEEN ||
		     p->tcp_flags & (TCP_FIN | TCP_RST)))
		flow__note(flow, p);
	if (unlikely(flow->seen != now)) {
		flow->seen = now;
		if (flags & FLOW_TRANSLATED)
			return flow__mend(p, flow);
	}
	return CONTINUE;
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
	row->created = old ? old->created : row->seen;
	if (old)
		row->flags |= old->flags;
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
	row.flags = (o->is_known ? 0 : FLOW_OPENER) | (packet__acknowledges(p) ? FLOW_SEEN : 0);
	row.flags |= p->tcp_flags & TCP_RST ? FLOW_RST : p->tcp_flags & TCP_FIN ? FLOW_FIN : 0;
	key = p->key;
	if (flow__write(&key, &row, o->is_known))
		return CONTINUE;
	flow_key__reverse(&key, &p->key);
	bpf_map_delete_elem(&sb_flows, &key);
	return DROP_FLOWS_FULL;
}

/*
 * Packets of a flow to a service look like those of another flow once they are translated, and so do the answers:
 * rows of one must not take the place of the other's. CONTINUE, with rows of what has ended out of the way, or
 * DROP_TRANSLATION_TAKEN.
 */
__rare int flow__make_way(const struct packet *p, const struct opening *o)
{
	struct pair *room = pair__get();
	const struct flow *flow;

	if (!p || !o || !room)
		return DROP_FLOWS_FULL;
	flow_key__reverse(&room->back, &p->key);
	flow = flow__find(&room->back);
	if (likely(!flow || !(flow->flags & FLOW_SERVICE)))
		return CONTINUE;
	if (!flow__is_closed(flow) && flow->source_incarnation == o->target_incarnation &&
	    (flow->target_incarnation == o->source_incarnation ||
	     !addr__equal(&flow->to.daddr, &p->key.saddr)))
		return DROP_TRANSLATION_TAKEN;
	flow__end_pair(&room->back);
	return CONTINUE;
}

/* CONTINUE, DROP_FLOWS_FULL, DROP_TRANSLATION_TAKEN, or DROP_FLOW_SHARE if who sends this has opened enough. */
__rare int flow__open(const struct packet *p, const struct opening *o)
{
	const struct config *config = config__get();
	struct opener_flows *mine;
	const struct flow *old;
	struct flow_key key;
	bool is_new;
	int outcome;

	if (!p || !o || !config)
		return DROP_FLOWS_FULL;
	key = p->key;
	old = flow__find(&key);
	if (config->flags & (CONFIG_SERVICES | CONFIG_TRANSLATED)) {
		if (unlikely(old && old->flags & FLOW_SERVICE)) {
			flow__end_pair(&key);
			old = NULL;
		}
		outcome = flow__make_way(p, o);
		if (outcome != CONTINUE)
			return outcome;
	}
	if (o->is_known || flow__is_opened_by(old, o))
		return flow__write_both(p, o);
	is_new = !old;
	outcome = opener__admit(&mine, &key.saddr, o->source_incarnation, o->source_node, 0);
	if (outcome != CONTINUE)
		return outcome;
	outcome = flow__write_both(p, o);
	if (outcome == CONTINUE)
		opener__count(mine, is_new);
	return outcome;
}

/* There is no room, or none for this sender: worth looking for flows that have expired. */
static __always_inline bool flow__lacks_room(int outcome)
{
	return outcome == DROP_FLOWS_FULL || outcome == DROP_FLOW_SHARE;
}

/* The other direction is on the stack way, and so must this one be. */
__rare int flow__is_stack_back(const struct packet *p, __u32 source_incarnation,
			       __u32 target_incarnation)
{
	struct flow_key key = {};
	const struct flow *back;

	if (!p)
		return false;
	flow_key__reverse(&key, &p->key);
	back = flow__find(&key);
	return back && way__kind(back->way) == WAY_STACK &&
	       back->source_incarnation == target_incarnation &&
	       back->target_incarnation == source_incarnation &&
	       !flow__is_reopened(back, p->tcp_flags);
}
