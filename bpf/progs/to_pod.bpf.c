/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Host end of a pod, tc egress: what the kernel's stack sends to a pod puts its flow on the stack
 * way, so that the pod's answers pass whoever translated it. */
#include "bpf.h"
#include "flows.h"
#include "fragments.h"
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
			return PASS_STACK_ERROR;
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
		flow__touch(flow, &p);
		if (likely(way__kind(READ_ONCE(flow->way)) == WAY_STACK))
			return PASS_STACK;
	}
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
