/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What other nodes send, by the tunnel or by the wire: into a local pod, or on to the kernel. */
#pragma once

#include "arrival.h"
#include "flows.h"
#include "icmp_error.h"

/* Not on the fast path: a way just chosen, or that of an ICMP error. */
__rare int inbound__go(struct __sk_buff *skb, const struct packet *p, __u64 way)
{
	const struct endpoint *target;

	if (!p)
		return DROP_NOT_READY;
	if (way__kind(way) != WAY_LOCAL)
		return PASS_STACK;
	target = endpoint__find(&p->key.daddr);
	return endpoint__is_pod(target) ? arrive(skb, p, target, false) : PASS_STACK;
}

/* An ICMP error goes the way of the flow it speaks of, if that way still holds. */
static __always_inline int inbound__go_error(struct __sk_buff *skb, const struct packet *p,
					     __u32 generation)
{
	struct icmp_error error = {};
	const struct flow *flow;
	__u64 way;

	if (!parse_icmp_error(skb, p, &error))
		return PASS_STACK_ERROR;
	flow = flow__find(&error.about);
	if (!flow)
		return PASS_STACK_ERROR;
	way = READ_ONCE(flow->way);
	if (way__kind(way) != WAY_STACK && way__generation(way) != generation)
		return PASS_STACK_ERROR;
	return inbound__go(skb, p, way);
}
