/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows that leave under another address or port than they began with: begun, and judged again after the
 * world has changed. What both rows hold is said in types.h.
 */
#pragma once

#include "flows.h"
#include "outside.h"
#include "ports.h"

/* All but the port. `incarnation` is the pod's, 0 for the node's own. */
static __always_inline void pair__fill(struct pair *pair, const struct packet *p,
				       const struct config *config, const struct way_out *out,
				       __u32 incarnation)
{
	__u32 generation = READ_ONCE(config->generation);

	__builtin_memset(pair, 0, sizeof(*pair));
	pair->key = p->key;
	flow_key__reverse(&pair->back, &p->key);
	pair->back.daddr = out->source;

	pair->row.way = way__make(incarnation ? WAY_OUT : WAY_STACK, out->ifindex, generation);
	pair->row.source_incarnation = incarnation;
	pair->row.flags = FLOW_TRANSLATED | flow__opener_flags(p);
	pair->row.to.saddr = out->source;
	pair->row.to.daddr = p->key.daddr;
	pair->row.mtu = out->mtu;

	pair->back_row.way = way__make(incarnation ? WAY_LOCAL : WAY_STACK, 0, generation);
	pair->back_row.target_incarnation = incarnation;
	pair->back_row.flags = FLOW_TRANSLATED;
	pair->back_row.to.saddr = p->key.daddr;
	pair->back_row.to.daddr = p->key.saddr;
	pair->back_row.to.sport = p->key.dport;
	pair->back_row.to.dport = p->key.sport;
}

/* The pair in the making is this flow's. CONTINUE, or DROP_FLOW_SHARE if its opener has enough. */
__rare int pair__start(const struct packet *p, const struct config *config, const struct way_out *out,
		       __u32 incarnation)
{
	struct pair *pair = pair__get();
	struct opener_flows *mine;

	if (!pair || !p || !config || !out)
		return DROP_NOT_READY;
	pair__fill(pair, p, config, out, incarnation);
	return opener__admit(&mine, &p->key.saddr, incarnation, 0, 0);
}

/* The row that is there already is of the same flow: another CPU has begun it meanwhile. */
static __always_inline bool pair__is_begun(const struct pair *pair)
{
	const struct flow *there = flow__find(&pair->key);

	return there && there->flags & FLOW_TRANSLATED && !flow__may_reopen(there) &&
	       there->source_incarnation == pair->row.source_incarnation;
}

/* A port has gone from the pool. */
static __always_inline void pair__note_port(const struct pair *pair)
{
	__u32 *opened = pool__opened(&pair->pool);

	if (flow__keeps_source(&pair->back, &pair->back_row))
		return;
	if (opened)
		WRITE_ONCE(*opened, *opened + 1);
	if (unlikely(taken__is_worth(pair->full.used, pair->min, pair->size)))
		taken__note(&pair->pool, bpf_ntohs(pair->back.dport));
}

/* Its port is reserved: writes the other row, and counts. CONTINUE or DROP_FLOWS_FULL. */
__rare int pair__finish(void)
{
	struct pair *pair = pair__get();
	struct opener_flows *mine;
	bool is_begun = false;
	long ret;

	if (!pair)
		return DROP_NOT_READY;
	pair->row.to.sport = pair->back.dport;
	pair->row.to.dport = pair->back.sport;
	ret = flow__insert(&pair->key, &pair->row, BPF_NOEXIST);
	if (ret == -EEXIST) {
		is_begun = pair__is_begun(pair);
		if (!is_begun) {	/* the stack's, of what has ended or of who had this address */
			flow__end_pair(&pair->key);
			ret = flow__insert(&pair->key, &pair->row, BPF_NOEXIST);
		}
	}
	if (ret) {
		bpf_map_delete_elem(&sb_flows, &pair->back);
		return is_begun ? CONTINUE : DROP_FLOWS_FULL;
	}
	opener__admit(&mine, &pair->key.saddr, pair->row.source_incarnation, 0, pair->row.flags);
	opener__count(mine, true);
	pair__note_port(pair);
	return CONTINUE;
}

/*
 * Begins a flow that leaves as `out` says: a pod's, or with incarnation 0 one of the node itself, which
 * keeps its address. CONTINUE, or DROP_NO_PORT, DROP_FLOWS_FULL, DROP_FLOW_SHARE. Its steps are called one
 * after the other, not by each other, for the sake of the stack.
 */
static __always_inline int translate__begin(struct __sk_buff *skb, const struct packet *p,
					    const struct config *config, const struct way_out *out,
					    __u32 incarnation)
{
	int outcome = pair__start(p, config, out, incarnation);

	if (outcome == CONTINUE)
		outcome = port__reserve(skb, config);
	return outcome == CONTINUE ? pair__finish() : outcome;
}

/* A translated flow of an older generation, or tick: stays with its address as long as that is the node's,
 * by whichever uplink routes say now. *way is WAY_OUT, the stack's for this packet if there is no route, or
 * left 0 if the translation has ended. */
__rare int translate__renew(struct __sk_buff *skb, const struct packet *p, const struct config *config,
			    __u64 *way)
{
	struct pair *pair = pair__get();
	struct way_out out = {};
	const struct flow *flow;
	__u32 generation;

	if (!pair || !p || !config || !way)
		return 0;
	generation = READ_ONCE(config->generation);
	pair->key = p->key;
	flow = flow__find(&pair->key);
	if (!flow)
		return 0;
	pair->row = *flow;
	switch (outside__route(skb, p, config, &out, false)) {
	case ROUTE_NONE:
		*way = way__make(WAY_STACK, 0, generation);
		return 0;
	case ROUTE_OUT:
		if (!outside__is_local(skb, &pair->row.to.saddr))
			break;
		*way = way__make(WAY_OUT, out.ifindex, generation);
		flow = flow__find(&pair->key);	/* as it is by now: it may have ended meanwhile */
		if (!flow || (flow->way == *way && flow->mtu == out.mtu))
			return 0;
		pair->row = *flow;
		pair->row.way = *way;
		pair->row.mtu = out.mtu;
		bpf_map_update_elem(&sb_flows, &pair->key, &pair->row, BPF_EXIST);
		return 0;
	}
	flow__end_pair(&p->key);
	return 0;
}
