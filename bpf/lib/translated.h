/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What comes by an uplink in answer to translated flows: into the pod that has the port, or to the node
 * under the port that it knows. CONTINUE means: nothing of the kind, and nothing was done.
 */
#pragma once

#include "arrival.h"
#include "flows.h"
#include "fragments.h"
#include "service_error.h"

/* A key holds both directions' packets of a ping, but only the reply answers. */
static __always_inline bool translated__is_answer(const struct packet *p)
{
	if (likely(p->key.proto != IPPROTO_ICMP && p->key.proto != IPPROTO_ICMPV6))
		return true;
	return !is_echo_request(p->key.proto, p->icmp_type);
}

/* The pod whose flow it is; NULL if it is gone, or another has its address. */
static __always_inline const struct endpoint *translated__pod(const struct flow *flow)
{
	const struct endpoint *pod;

	if (way__kind(READ_ONCE(flow->way)) != WAY_LOCAL)
		return NULL;
	pod = endpoint__find(&flow->to.daddr);
	return endpoint__is_pod(pod) && pod->incarnation == flow->target_incarnation ? pod : NULL;
}

/* Answers to the node itself, not what the node sends. */
static __always_inline bool translated__is_to_node(const struct flow *flow)
{
	return way__kind(READ_ONCE(flow->way)) == WAY_STACK && !(flow->flags & FLOW_OPENER);
}

/* The kernel forwards it, with its new destination, and says or does what the short way cannot. Nobody
 * behind has to look at it: SB_DONE, which the rules of the node take as "do not track", too. */
static __always_inline int translated__to_stack(struct __sk_buff *skb, int outcome)
{
	skb->mark |= SB_DONE;
	return outcome;
}

/* Answers to connections of the node that left under another port, because a pod had theirs. */
__rare int translated__to_node(struct __sk_buff *skb, const struct packet *p,
			       const struct config *config, struct flow *flow)
{
	int outcome;

	if (!p || !config || !flow || !translated__is_to_node(flow))
		return CONTINUE;
	outcome = flow__touch(flow, p);
	if (outcome == CONTINUE)
		outcome = rewrite__destination(skb, p, config, &flow->to);
	return outcome == CONTINUE ? PASS_TRANSLATED : outcome;
}

/* Packets of pods of this node never come by an uplink, and those of other nodes' only where there is no
 * tunnel: what else has such a row's key speaks in a pod's name. What the stack has translated leaves by one. */
static __always_inline bool translated__is_by_uplink(const struct flow *flow, const struct config *config)
{
	if (way__kind(READ_ONCE(flow->way)) == WAY_STACK && !(flow->flags & FLOW_OPENER))
		return false;
	return !flow->source_incarnation && (!flow->source_node || config->flags & CONFIG_NATIVE);
}

/* The same of a flow to a service; of its answers, too. */
static __always_inline int translated__serve(struct __sk_buff *skb, const struct packet *p,
					     const struct config *config, struct flow *flow)
{
	int outcome;

	if (unlikely(!translated__is_by_uplink(flow, config)))
		return CONTINUE;
	outcome = service_flow__continue(skb, p, config, flow);
	return outcome == SERVICE_ENDED ? CONTINUE : outcome;
}

/* `flow` is a translated row that the packet's key has found. */
static __always_inline int translated__arrive(struct __sk_buff *skb, struct packet *p,
					      const struct config *config, struct flow *flow)
{
	const struct endpoint *pod;
	int outcome, rewritten;

	if (unlikely(!translated__is_answer(p) || flow__is_reopened(flow, p->tcp_flags)))
		return CONTINUE;
	if (unlikely(p->flags & PACKET_FRAGMENT_FIRST))
		fragment__resolve(p);
	if (flow->flags & FLOW_SERVICE)
		return translated__serve(skb, p, config, flow);
	pod = translated__pod(flow);
	if (unlikely(!pod))
		return translated__to_node(skb, p, config, flow);
	outcome = flow__touch(flow, p);
	if (unlikely(outcome != CONTINUE))
		return outcome;
	outcome = hop__check(skb, p, pod->mtu);
	/* All of a datagram or none: the kernel, once it puts datagrams together, waits for every piece
	 * of one whose first was too long for the pod. */
	if (unlikely(outcome == CONTINUE && p->flags & (PACKET_FRAGMENT_FIRST | PACKET_FRAGMENT_LATER)))
		outcome = PASS_STACK;
	rewritten = rewrite__destination(skb, p, config, &flow->to);
	if (unlikely(rewritten != CONTINUE))
		return rewritten;
	if (unlikely(outcome != CONTINUE))
		return translated__to_stack(skb, outcome);
	return arrive(skb, p, pod, false);
}

/* Whoever forwards a packet on its way may say that it could not; about the way to the gateway only the
 * node's kernel wants to know. */
__rare int translated__arrive_error(struct __sk_buff *skb, const struct packet *p,
				    const struct config *config)
{
	struct serving *serving = serving__get();
	const struct endpoint *pod;
	struct icmp_error *error;
	const struct flow *flow;
	int outcome;

	if (!p || !config || !serving || p->flags & (PACKET_FRAGMENT_FIRST | PACKET_FRAGMENT_LATER))
		return CONTINUE;
	if (!(p->flags & PACKET_IPV6) && p->icmp_type == ICMP_REDIRECT)
		return CONTINUE;
	error = service_error__room(serving);
	if (!parse_icmp_error(skb, p, error))
		return CONTINUE;
	flow = flow__find(&error->about);
	if (!flow || !(flow->flags & FLOW_TRANSLATED))
		return CONTINUE;
	if (flow->flags & FLOW_SERVICE)
		return translated__is_by_uplink(flow, config) ?
			       service_error__send(skb, p, config, flow, false) : CONTINUE;
	/* What left was a request; the node's own replies have the same key. */
	if (error->about.icmp_class && !is_echo_request(error->about.proto, error->icmp_type))
		return CONTINUE;
	pod = translated__pod(flow);
	if (!pod && !translated__is_to_node(flow))
		return CONTINUE;
	outcome = translate_error(skb, p, error, &flow->to, false);
	if (outcome != CONTINUE)
		return outcome;
	if (!pod)
		return PASS_TRANSLATED;
	outcome = hop__check(skb, p, pod->mtu);
	return outcome == CONTINUE ? arrive(skb, p, pod, false) : translated__to_stack(skb, outcome);
}
