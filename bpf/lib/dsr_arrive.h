/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return, at the node that has the backend: what another node was asked and sends on begins a
 * flow here as if this node had been asked. The backend answers by this node's own uplink, as the service.
 */
#pragma once

#include "service_error.h"
#include "service_outside.h"

/* A client outside asks a pod of this node. */
static __always_inline bool dsr__is_client_row(const struct flow *flow)
{
	return (flow->flags & (FLOW_SERVICE | FLOW_OPENER)) == (FLOW_SERVICE | FLOW_OPENER) &&
	       !flow->source_incarnation && way__kind(READ_ONCE(flow->way)) == WAY_LOCAL;
}

/* The row is of the backend that the sender has chosen, and of no connection that has ended. */
static __always_inline bool dsr__holds(struct __sk_buff *skb, const struct packet *p, const struct flow *flow)
{
	const struct dsr_backend *wanted = (void *)(long)skb->data;

	return dsr__is_client_row(flow) && (void *)(wanted + 1) <= (void *)(long)skb->data_end &&
	       dsr_backend__is(wanted, &flow->to.daddr, flow->to.dport) &&
	       !flow__is_reopened(flow, p->tcp_flags);
}

/* Nobody of the cluster: they all have ways of their own. */
static __always_inline bool dsr__is_client(const struct packet *p, const struct config *config)
{
	return client__is_outside(p, config) && !node__id_of(&p->key.saddr);
}

/* The service that `node` was asked for: its node ports are ours, too. */
static __always_inline const struct service *dsr__service(const struct packet *p, __u32 node)
{
	if (node__id_of(&p->key.daddr) == node)
		return service__find_node_port(&p->key.daddr, p->key.dport, p->key.proto);
	return service__find(&p->key.daddr, p->key.dport, p->key.proto);
}

/* It has ended in the tick in which it began: the list was looked through for it, and is not again for each SYN of
 * one who resets what he begins. */
static __always_inline bool dsr__was_just_found(const struct flow *flow, const struct dsr_backend *wanted)
{
	return dsr__is_client_row(flow) && READ_ONCE(flow->created) == clock__now() &&
	       dsr_backend__is(wanted, &flow->to.daddr, flow->to.dport) && flow->target_incarnation &&
	       endpoint__incarnation(endpoint__find(&flow->to.daddr)) == flow->target_incarnation;
}

/* No row holds: is this what it seems? CONTINUE with serving->packet as the backend gets it, or a drop. */
__rare int dsr__judge(struct __sk_buff *skb, const struct packet *p, const struct config *config, __u32 node)
{
	struct serving *serving = serving__get();
	struct dsr_search search = {};
	const struct service *service;
	struct opener_flows *mine;
	const struct flow *flow;
	int outcome;

	if (!serving || !p || !config || !(config->flags & CONFIG_SERVICES))
		return DROP_NOT_READY;
	if (!dsr__is_client(p, config))
		return DROP_FOREIGN_SOURCE;
	service = dsr__service(p, node);
	if (!service || service->flags & SERVICE_ADDRESS ||
	    bpf_skb_load_bytes(skb, 0, &search.wanted, sizeof(search.wanted)))
		return DROP_NOT_BACKEND;
	if (!service__admits(service, &p->key.saddr))
		return DROP_SOURCE_RANGE;
	search.list = service->external;
	serving->client.service = 0;	/* who has which backend is the sender's to know */
	serving->packet = *p;
	flow = flow__find(&serving->packet.key);
	if (!flow) {	/* before the list, which is long to look through */
		outcome = opener__admit(&mine, &p->key.saddr, 0, 0, FLOW_SERVICE);
		if (outcome != CONTINUE)
			return outcome;
	}
	if (flow && dsr__was_just_found(flow, &search.wanted))
		search.found = flow->to.daddr;
	else if (!dsr__look_up(&search))
		return DROP_NOT_BACKEND;
	if (flow && !dsr__holds(skb, p, flow))	/* the sender decides: it has other rows */
		flow__end_pair(&serving->packet.key);
	serving->packet.key.daddr = search.found;
	serving->packet.key.dport = search.wanted.port;
	return CONTINUE;
}

static __always_inline int dsr__begin(struct __sk_buff *skb, const struct packet *p,
				      const struct config *config, __u32 node)
{
	int outcome = dsr__judge(skb, p, config, node);

	if (outcome == CONTINUE)
		outcome = service_outside__place(skb, p, config);
	return outcome == CONTINUE ? service_flow__begin(skb, p, config) : outcome;
}

/* Sent on by `node`. */
static __always_inline int dsr__arrive(struct __sk_buff *skb, const struct packet *p,
				       const struct config *config, __u32 node)
{
	struct flow *flow = flow__find(&p->key);
	int outcome;

	/* The kernel has compared what is in place of its MAC with that of the device. */
	if (skb->pkt_type != PACKET_HOST)
		bpf_skb_change_type(skb, PACKET_HOST);
	if (likely(flow && dsr__holds(skb, p, flow))) {
		outcome = service_flow__continue(skb, p, config, flow);
		if (likely(outcome != SERVICE_ENDED))
			return outcome;
	}
	outcome = dsr__begin(skb, p, config, node);
	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = dsr__begin(skb, p, config, node);
	if (outcome != CONTINUE)
		return outcome;
	outcome = service_flow__send_found(skb, p, config, false);
	return outcome == SERVICE_ENDED ? DROP_NO_ENDPOINT : outcome;
}

/* About an answer: routers and the client believe that it came from the node that sends this on. */
__rare int dsr__arrive_error(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	struct serving *serving = serving__get();
	const struct flow *flow;

	if (!p || !config || !serving)
		return DROP_NOT_READY;
	if (!client__is_outside(p, config))
		return DROP_FOREIGN_SOURCE;
	if (!parse_icmp_error(skb, p, service_error__room(serving)))
		return DROP_NOT_BACKEND;
	flow = flow__find(&serving->error.about);
	if (!flow || !dsr__is_client_row(flow))
		return DROP_NOT_BACKEND;
	return service_error__send(skb, p, config, flow, false);
}
