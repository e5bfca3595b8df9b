/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Host end of a pod, tc egress: what the kernel's stack sends to a pod puts its flow on the stack way, so that
 * the pod's answers pass whoever translated it. Answers of a service's backend get the service's name here.
 */
#include "bpf.h"
#include "flows.h"
#include "fragments.h"
#include "rewrite.h"
#include "translate_error.h"
#include "verdict.h"

/* First packet, or the first one that came through the stack; `known` may be NULL. */
__rare int open(const struct packet *p, const struct config *config, __u32 target_incarnation,
		const struct flow *known)
{
	__u32 generation, node = known ? known->source_node : 0;
	const struct flow *back;
	struct flow_key key = {};
	struct opening o = {};

	if (!p || !config)
		return DROP_NOT_READY;
	/* The answer to what the stack sent in our stead, above the MTU for example: the pod's packets
	 * still leave as they did. */
	flow_key__reverse(&key, &p->key);
	back = flow__find(&key);
	if (back && back->flags & FLOW_TRANSLATED && back->source_incarnation == target_incarnation)
		return CONTINUE;
	generation = READ_ONCE(config->generation);
	o.way = way__make(WAY_STACK, 0, generation);
	o.way_back = way__make(WAY_STACK, node, generation);
	o.source_incarnation = endpoint__incarnation(endpoint__find(&p->key.saddr));
	o.target_incarnation = target_incarnation;
	o.source_node = node;
	o.is_known = !!known;
	return flow__open(p, &o);
}

/* Answers to the pod's flow to a service: the row has the whole translation. */
__rare int pass_answer(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		       struct flow *flow)
{
	int outcome;

	if (!p || !config || !flow)
		return DROP_NOT_READY;
	outcome = flow__touch(flow, p);
	if (outcome == CONTINUE)
		outcome = rewrite__both(skb, p, config, &flow->to);
	return outcome == CONTINUE ? PASS_STACK : outcome;
}

/* About a packet of the pod's to a service, from whoever could not forward it to the backend, or from that: the
 * pod knows of the service only. */
__rare int pass_error(struct __sk_buff *skb, const struct packet *p)
{
	struct icmp_error error = {};
	const struct flow *flow;
	int outcome;

	if (!p || !parse_icmp_error(skb, p, &error))
		return PASS_STACK_ERROR;
	flow = flow__find(&error.about);
	if (!flow || !(flow->flags & FLOW_SERVICE) ||
	    flow->target_incarnation != endpoint__incarnation(endpoint__find(&p->key.daddr)))
		return PASS_STACK_ERROR;
	outcome = translate_error(skb, p, &error, &flow->to, false);
	return outcome == CONTINUE ? PASS_STACK_ERROR : outcome;
}

static __always_inline int to_pod(struct __sk_buff *skb)
{
	const struct endpoint *target;
	const struct config *config;
	struct packet p = {};
	struct flow *flow;
	int outcome;

	if (unlikely(skb->mark & SB_DONE)) {
		skb->mark &= ~SB_DONE;
		return PASS_DONE;
	}
	config = config__get();
	if (unlikely(!config))
		return DROP_NOT_READY;
	outcome = parse(skb, &p);
	if (unlikely(outcome == PARSED_ARP))
		return PASS_NEIGHBOUR;
	if (unlikely(outcome < 0))
		return -outcome;
	if (unlikely(p.flags & PACKET_RARE)) {
		if (p.flags & PACKET_NEIGHBOUR)
			return PASS_NEIGHBOUR;
		if (p.flags & PACKET_ICMP_ERROR)
			return pass_error(skb, &p);
		fragment__resolve(&p);
		if (p.flags & PACKET_PORTS_UNKNOWN)
			return PASS_STACK_FRAGMENT;
	}

	target = endpoint__find(&p.key.daddr);
	if (unlikely(!endpoint__is_behind(target, skb->ifindex) ||
		     addr__is_untracked(&p.key.saddr)))
		return PASS_UNTRACKED;	/* multicast, or link-local of the host end */

	flow = flow__find(&p.key);
	if (unlikely(!flow || flow->target_incarnation != target->incarnation ||
		     flow__is_reopened(flow, p.tcp_flags)))
		flow = NULL;
	if (likely(flow)) {
		if (unlikely(flow->flags & FLOW_SERVICE))
			return pass_answer(skb, &p, config, flow);
		flow__touch(flow, &p);
		if (likely(way__kind(READ_ONCE(flow->way)) == WAY_STACK))
			return PASS_STACK;
	}
	/* Of a connection that never was: to a service, perhaps, that nobody serves. Or in the name of a pod that
	 * is gone. */
	if (unlikely(p.tcp_flags & TCP_RST) &&
	    (!flow || (flow->source_incarnation && !endpoint__find(&p.key.saddr))))
		return PASS_STACK;
	outcome = open(&p, config, target->incarnation, flow);
	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = open(&p, config, target->incarnation, flow);
	return outcome == CONTINUE ? PASS_STACK : outcome;
}

SEC("tc")
int sb_to_pod(struct __sk_buff *skb)
{
	return finish(skb, PLACE_TO_POD, to_pod(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
