/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Overlay device, tc ingress: what other nodes send must be theirs to send, and arrives. */
#include "bpf.h"
#include "arrival.h"
#include "dsr_arrive.h"
#include "flows.h"
#include "fragments.h"
#include "inbound.h"
#include "overlay.h"
#include "service_error.h"
#include "vacant.h"

/* First packet of a flow, or what its row says no longer holds: judges the source, chooses the way.
 * CONTINUE with *way, or an outcome. */
__rare int choose(const struct packet *p, const struct config *config, __u32 node,
			     const struct flow *known, __u64 *way)
{
	enum way_kind kind = WAY_STACK, back = WAY_STACK;
	const struct endpoint *target;
	struct opening o = {};
	__u32 generation;

	if (!p || !config || !way)
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);
	target = endpoint__find(&p->key.daddr);
	o.target_incarnation = endpoint__incarnation(target);
	o.source_node = node;
	o.is_known = !!known;
	if (!ipcache__is_source_of(&p->key.saddr, node))
		return DROP_FOREIGN_SOURCE;
	if (!target)
		return DROP_NO_ENDPOINT;
	if (endpoint__is_pod(target))
		kind = WAY_LOCAL;
	if (known ? way__kind(READ_ONCE(known->way)) == WAY_STACK : packet__is_midstream(p))
		kind = WAY_STACK;	/* to its end; and whoever translates it knows (ADR 0010) */
	if (flow__is_stack_back(p, 0, o.target_incarnation))
		kind = WAY_STACK;
	if (kind != WAY_STACK)
		back = WAY_NODE;
	o.way = way__make(kind, 0, generation);
	o.way_back = way__make(back, node, generation);
	*way = o.way;
	return flow__open(p, &o);
}

/* Errors come from routers on the way too, so the row of their flow does not vouch for the source. */
__rare int go_error(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		    __u32 node)
{
	struct serving *serving = serving__get();
	const struct flow *flow;

	if (!p || !config || !serving)
		return DROP_NOT_READY;
	if (!ipcache__is_source_of(&p->key.saddr, node))
		return DROP_FOREIGN_SOURCE;
	if (!endpoint__find(&p->key.daddr))
		return DROP_NO_ENDPOINT;
	if (parse_icmp_error(skb, p, service_error__room(serving))) {
		flow = flow__find(&serving->error.about);
		if (flow && flow->flags & FLOW_SERVICE && flow->source_node == node)
			return service_error__send(skb, p, config, flow, false);
	}
	return inbound__go_error(skb, p, READ_ONCE(config->generation));
}

__rare int pass_fragment(const struct packet *p, __u32 node)
{
	if (!p)
		return DROP_NOT_READY;
	if (!ipcache__is_source_of(&p->key.saddr, node))
		return DROP_FOREIGN_SOURCE;
	return endpoint__find(&p->key.daddr) ? PASS_STACK_FRAGMENT : DROP_NO_ENDPOINT;
}

/* Answers of a flow to a service, from another node than its row says: the backend's address has moved, or that
 * node has another id. CONTINUE or DROP_FOREIGN_SOURCE. */
__rare int follow(const struct packet *p, __u32 node)
{
	struct pair *room = pair__get();
	const struct flow *flow;

	if (!p || !room)
		return DROP_NOT_READY;
	if (!ipcache__is_source_of(&p->key.saddr, node))
		return DROP_FOREIGN_SOURCE;
	room->key = p->key;
	flow = flow__find(&room->key);
	if (!flow || !flow->source_node)
		return CONTINUE;
	room->row = *flow;
	room->row.source_node = node;
	bpf_map_update_elem(&sb_flows, &room->key, &room->row, BPF_EXIST);
	return CONTINUE;
}

/* Answers to the node itself where a service's flow had its port. */
__rare int answer_node(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		       struct flow *flow)
{
	int outcome;

	if (!p || !config || !flow)
		return DROP_NOT_READY;
	if (flow->flags & FLOW_OPENER || way__kind(READ_ONCE(flow->way)) != WAY_STACK)
		return SERVICE_ENDED;
	outcome = flow__touch(flow, p);
	if (outcome == CONTINUE)
		outcome = rewrite__destination(skb, p, config, &flow->to);
	return outcome == CONTINUE ? PASS_TRANSLATED : outcome;
}

/* Of a service's backend there, or these. SERVICE_ENDED: no such flow any more. */
__rare int serve(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		 struct flow *flow, __u32 node)
{
	int outcome;

	if (!p || !config || !flow)
		return DROP_NOT_READY;
	if (unlikely(flow->source_node != node)) {
		outcome = follow(p, node);
		if (outcome != CONTINUE)
			return outcome;
	}
	if (flow__is_reopened(flow, p->tcp_flags))
		return SERVICE_ENDED;
	if (unlikely(!(flow->flags & FLOW_SERVICE)))
		return answer_node(skb, p, config, flow);
	return service_flow__continue(skb, p, config, flow);
}

static __always_inline int from_overlay(struct __sk_buff *skb)
{
	const struct config *config = config__get();
	const struct endpoint *target;
	const struct flow *known = NULL;
	__u32 generation, node;
	struct packet p = {};
	struct flow *flow;
	struct addr outer;
	bool is_dsr;
	int outcome;
	__u64 way = 0;

	if (unlikely(!config))
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);

	outcome = overlay__outer(skb, config, &outer);
	is_dsr = outcome == OVERLAY_DSR;
	if (unlikely(outcome != CONTINUE && !is_dsr))
		return outcome;
	outcome = parse(skb, &p);
	if (unlikely(outcome == PARSED_ARP))
		return DROP_OVERLAY_MULTICAST;
	if (unlikely(outcome < 0))
		return -outcome;
	if (unlikely(p.flags & PACKET_RARE)) {
		if (p.flags & PACKET_NEIGHBOUR)
			return DROP_OVERLAY_MULTICAST;
		node = overlay__sender(&outer, 0);
		if (!node)
			return DROP_UNKNOWN_NODE;
		if (p.flags & PACKET_ICMP_ERROR)
			return is_dsr ? dsr__arrive_error(skb, &p, config) : go_error(skb, &p, config, node);
		fragment__resolve(&p);
		if (p.flags & PACKET_PORTS_UNKNOWN)
			return is_dsr ? DROP_FRAGMENT_ORDER : pass_fragment(&p, node);
	}
	if (unlikely(is_dsr)) {
		node = overlay__sender(&outer, 0);
		return node ? dsr__arrive(skb, &p, config, node) : DROP_UNKNOWN_NODE;
	}

	flow = flow__find(&p.key);
	node = overlay__sender(&outer, flow ? flow->source_node : 0);
	if (unlikely(!node))
		return DROP_UNKNOWN_NODE;
	if (unlikely(flow && flow->flags & FLOW_TRANSLATED)) {
		outcome = serve(skb, &p, config, flow, node);
		if (likely(outcome != SERVICE_ENDED))
			return outcome;
		flow = NULL;
	}
	if (likely(flow && flow->source_node == node && !flow__is_reopened(flow, p.tcp_flags))) {
		way = READ_ONCE(flow->way);
		if (flow->target_incarnation) {
			target = endpoint__find(&p.key.daddr);
			if (likely(endpoint__is_pod(target) &&
				   target->incarnation == flow->target_incarnation))
				known = flow;
		} else {
			target = NULL;
			known = flow;
		}
		if (likely(known && way__generation(way) == generation)) {
			flow__touch(flow, &p);
			return way__kind(way) == WAY_LOCAL && target ? arrive(skb, &p, target, false) :
								      PASS_STACK;
		}
	}
	if (addr__is_untracked(&p.key.daddr))
		return DROP_OVERLAY_MULTICAST;
	outcome = choose(&p, config, node, known, &way);
	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = choose(&p, config, node, known, &way);
	if (likely(outcome == CONTINUE))
		return inbound__go(skb, &p, way);
	if (outcome == DROP_NO_ENDPOINT && vacant__is_told(&p, config))
		return vacant__refuse_tunnelled(skb);
	return outcome;
}

SEC("tc")
int sb_from_overlay(struct __sk_buff *skb)
{
	return finish(skb, PLACE_FROM_OVERLAY, from_overlay(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
