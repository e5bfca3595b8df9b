/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors about flows to a service: each goes to whom it is for, along the row of the other direction. */
#pragma once

#include "service_flow.h"
#include "translate_error.h"

/* Where an error is taken apart that may be about a service's flow. */
static __always_inline struct icmp_error *service_error__room(struct serving *serving)
{
	__builtin_memset(&serving->error, 0, sizeof(serving->error));
	return &serving->error;
}

/*
 * serving->error, about a flow to a service, goes along that flow's row in the other direction. Best effort, as
 * errors are: of a row that is to be looked up anew as its old way says.
 */
__rare int service_error__send(struct __sk_buff *skb, const struct packet *p, const struct config *config,
			       const struct flow *flow, bool is_sending)
{
	struct serving *serving = serving__get();
	const struct endpoint *pod = NULL;
	const struct node *node = NULL;
	enum way_kind kind;
	int outcome;
	__u64 way;

	if (!serving || !p || !config || !flow)
		return PASS_STACK_ERROR;
	way = READ_ONCE(flow->way);
	kind = way__kind(way);
	/* What leaves the stack is translated there. */
	if (kind == WAY_STACK && !(flow->flags & FLOW_OPENER))
		return PASS_STACK_ERROR;
	if (kind == WAY_LOCAL) {
		pod = endpoint__find(&flow->to.daddr);
		if (!endpoint__is_pod(pod) || pod->incarnation != flow->target_incarnation)
			return PASS_STACK_ERROR;
	} else if (kind == WAY_OUT) {
		if (!way__node(way))
			return PASS_STACK_ERROR;
	} else if (kind != WAY_STACK) {
		node = node__find(way__node(way));
		if (!node)
			return PASS_STACK_ERROR;
	}
	outcome = hop__check(skb, p, pod ? pod->mtu : node ? node->mtu : flow->mtu);
	if (outcome != CONTINUE)
		return outcome;
	if (kind == WAY_DSR)
		return dsr__send(skb, p, config, node, flow);
	/* Another node takes from us what this one has sent. */
	outcome = translate_error(skb, p, &serving->error, &flow->to,
				  flow->flags & FLOW_OPENER &&
					  !addr__equal(&flow->to.saddr, &serving->error.about.saddr));
	if (outcome != CONTINUE)
		return outcome;
	if (pod)
		return arrive(skb, p, pod, is_sending);
	if (node)
		return kind == WAY_NODE ? overlay__send(skb, p, config, node) :
					  uplink__send(skb, p, config, node);
	if (kind == WAY_STACK)
		return PASS_STACK_ERROR;
	outcome = hop__take(skb, p, 0);
	return outcome == CONTINUE ? outside__redirect(skb, way) : outcome;
}
