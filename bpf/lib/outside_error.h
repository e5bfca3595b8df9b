/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* ICMP errors that go out about answers to translated flows: pods', and those of the node's own kernel. */
#pragma once

#include "flows.h"
#include "lent.h"
#include "outside.h"
#include "translate_error.h"

/* `flow` is the translated row of the packets that go where the error goes, from where that is
 * sent. What they answer came in, and so was no echo request. */
static __always_inline bool outside__is_error_of(const struct icmp_error *error, const struct flow *flow)
{
	return flow->flags & FLOW_TRANSLATED && way__kind(READ_ONCE(flow->way)) != WAY_LOCAL &&
	       !(error->about.icmp_class && is_echo_request(error->about.proto, error->icmp_type));
}

/* A pod's error about an answer that it got, whose flow is `flow`: by the way that its packets go. Best
 * effort, as errors are: of a row that is to be looked up anew as its old way says. */
__rare int outside__send_error(struct __sk_buff *skb, const struct packet *p, const struct icmp_error *error,
			       const struct flow *flow)
{
	int outcome;
	__u64 way;

	if (!p || !error || !flow)
		return PASS_STACK_ERROR;
	way = READ_ONCE(flow->way);
	if (!outside__is_error_of(error, flow) || !way__node(way) ||
	    flow->source_incarnation != endpoint__incarnation(endpoint__find(&p->key.saddr)))
		return PASS_STACK_ERROR;
	outcome = hop__take(skb, p, flow->mtu);
	if (outcome != CONTINUE)
		return outcome;
	outcome = translate_error(skb, p, error, &flow->to, true);
	return outcome == CONTINUE ? outside__redirect(skb, way) : outcome;
}

/* The kernel's own error about an answer that it had to forward to a pod, or that came for itself: it knows
 * both under the address and port behind the translation. */
__rare int outside__pass_error(struct __sk_buff *skb, const struct packet *p)
{
	struct icmp_error error = {};
	const struct translation *to;
	const struct flow *flow;
	int outcome;

	if (!p || !parse_icmp_error(skb, p, &error))
		return PASS_FOREIGN;
	flow = flow__find(&error.about);
	if (flow)
		to = outside__is_error_of(&error, flow) ? &flow->to : NULL;
	else
		to = lent__find(&error.about);
	if (!to)
		return PASS_FOREIGN;
	outcome = translate_error(skb, p, &error, to, true);
	return outcome == CONTINUE ? PASS_TRANSLATED : outcome;
}
