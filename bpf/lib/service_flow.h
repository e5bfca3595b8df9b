/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows to a service that packets begin, not sockets: its backend takes its place in the packet. A pair of
 * rows says how, as that of a flow that leaves the cluster does (types.h); what is found in a row goes by
 * it, whichever program finds it.
 *
 * The steps of a first packet are called one after the other by the program itself, for the sake of the
 * stack: pick a backend, say where it is (the program does), begin, send.
 */
#pragma once

#include "arrival.h"
#include "dsr.h"
#include "lent.h"
#include "outside.h"
#include "overlay.h"
#include "service_pick.h"
#include "translate.h"
#include "uplink.h"

/* The way to a backend in the pod network or on this node. 0: it is elsewhere. */
static __always_inline __u64 service_flow__way_to(const struct addr *backend, const struct config *config)
{
	__u32 node, generation = READ_ONCE(config->generation);
	const struct endpoint *endpoint = endpoint__find(backend);
	const struct node *to;

	if (endpoint)
		return way__make(endpoint__is_pod(endpoint) ? WAY_LOCAL : WAY_STACK, 0, generation);
	node = ipcache__remote_node(backend, config->own_node);
	if (!node)
		return 0;
	to = node__find(node);
	if (to && config__has_tunnel(config))
		return way__make(WAY_NODE, node, generation);
	if (to && to->flags & NODE_ON_UPLINK && config->uplink_ifindex)
		return way__make(WAY_UPLINK, node, generation);
	return way__make(WAY_STACK, node, generation);
}

/* Both rows but the port. CONTINUE, or DROP_FLOW_SHARE if whoever sends it has enough. */
__rare int service_flow__start(const struct packet *p)
{
	struct serving *serving = serving__get();
	struct pair *pair = pair__get();
	const struct opening *o;
	struct opener_flows *mine;

	if (!serving || !pair || !p)
		return DROP_NOT_READY;
	o = &serving->opening;
	__builtin_memset(pair, 0, sizeof(*pair));
	pair->key = p->key;
	flow_key__reverse(&pair->back, &serving->packet.key);

	pair->row.way = o->way;
	pair->row.source_incarnation = o->source_incarnation;
	pair->row.target_incarnation = o->target_incarnation;
	pair->row.flags = FLOW_TRANSLATED | FLOW_SERVICE | flow__opener_flags(p);
	pair->row.to.saddr = serving->packet.key.saddr;
	pair->row.to.daddr = serving->packet.key.daddr;
	pair->row.mtu = serving->mtu;

	pair->back_row.way = o->way_back;
	pair->back_row.source_incarnation = o->target_incarnation;
	pair->back_row.target_incarnation = o->source_incarnation;
	pair->back_row.source_node = o->target_node;
	pair->back_row.flags = FLOW_TRANSLATED | FLOW_SERVICE | way__unseen_flags(o->way);
	pair->back_row.to.saddr = p->key.daddr;
	pair->back_row.to.daddr = p->key.saddr;
	pair->back_row.to.sport = p->key.dport;
	pair->back_row.to.dport = p->key.sport;
	pair->back_row.mtu = serving->back_mtu;
	/* What has ended, or went by the stack until services were ours, has the port no longer. */
	if (!pair__is_begun(pair))
		flow__end_pair(&pair->key);
	return opener__admit(&mine, &p->key.saddr, o->source_incarnation, 0, pair->row.flags);
}

/* Its client's next one goes to the same backend. */
__rare int service_flow__keep_backend(void)
{
	struct serving *serving = serving__get();

	if (serving && serving->client.service)
		service__keep(&serving->client, serving->backend);
	return 0;
}

/* Begins the flow that serving->packet and serving->opening are about. CONTINUE with both rows written, or
 * DROP_NO_PORT, DROP_FLOWS_FULL, DROP_FLOW_SHARE. */
static __always_inline int service_flow__begin(struct __sk_buff *skb, const struct packet *p,
					       const struct config *config)
{
	int outcome = service_flow__start(p);

	if (outcome == CONTINUE)
		outcome = port__reserve(skb, config);
	if (outcome == CONTINUE)
		outcome = pair__finish();
	if (outcome == CONTINUE)
		service_flow__keep_backend();
	return outcome;
}

/*
 * What the short way cannot carry goes to the stack in that form in which whoever sent it can be told about it:
 * rewritten if it goes to the backend under the sender's own address, or if the node itself would take it for
 * its own. Else as it was, and sb_to_pod or sb_to_uplink rewrites it behind the stack.
 */
static __always_inline bool service_flow__is_told_rewritten(const struct packet *p, const struct flow *flow)
{
	if (flow->flags & FLOW_OPENER)
		return addr__equal(&flow->to.saddr, &p->key.saddr);
	return !addr__equal(&flow->to.daddr, &p->key.daddr);
}

/* All of a datagram that an uplink brings or that answers what one has brought, or none: the kernel, once it puts
 * datagrams together, waits for every piece of one whose first was too long for the pod or the uplink. */
static __always_inline bool service_flow__is_piece(const struct packet *p, const struct flow *flow)
{
	enum way_kind kind = way__kind(READ_ONCE(flow->way));

	if (likely(!(p->flags & (PACKET_FRAGMENT_FIRST | PACKET_FRAGMENT_LATER))))
		return false;
	if (kind == WAY_OUT)
		return !(flow->flags & FLOW_OPENER) && outside__is_piece(p, flow->mtu);
	return !flow->source_incarnation && !flow->source_node && kind == WAY_LOCAL;
}

/*
 * No kernel takes from outside what is in the node's own name: of a packet that the node sends on in it, it gets
 * what its sender would have sent to whom it is for. That is in sb_pair then, as row.to; and a row that is made
 * here says whose name gets into what the kernel tells the sender.
 */
__rare int service_flow__lend(const struct packet *p, const struct flow *flow)
{
	struct pair *room = pair__get();
	struct lent lent = {};

	if (!room || !p || !flow)
		return 0;
	flow_key__reverse(&room->back, &p->key);
	lent.to.saddr = room->back.saddr;
	lent.to.daddr = room->back.daddr;
	lent.to.sport = room->back.sport;
	lent.to.dport = room->back.dport;
	lent.seen = clock__now();
	room->back.saddr = flow->to.daddr;
	room->back.sport = flow->to.dport;
	if (way__kind(READ_ONCE(flow->way)) == WAY_DSR)
		dsr__narrow(&room->back.saddr, p->flags & PACKET_IPV6);
	bpf_map_update_elem(&sb_lent, &room->back, &lent, BPF_ANY);
	room->row.to.saddr = p->key.saddr;
	room->row.to.sport = p->key.sport;
	room->row.to.daddr = room->back.saddr;
	room->row.to.dport = flow->to.dport;
	return 0;
}

/* Neither end is a pod of this node, and both change. */
static __always_inline bool service_flow__is_nodes(const struct packet *p, const struct flow *flow)
{
	return !flow->source_incarnation && !flow->target_incarnation &&
	       !addr__equal(&flow->to.saddr, &p->key.saddr) &&
	       !addr__equal(&flow->to.daddr, &p->key.daddr);
}

/* include/net/ip.h */
#define IP_DF 0x4000

/* Too long for the tunnel, but routers on the way may cut it up, and so may whoever carries the tunnel: the kernel
 * could not send the pieces in the node's own name. */
static __always_inline bool service_flow__may_be_cut(struct __sk_buff *skb, const struct packet *p)
{
	const struct iphdr *ip = (void *)(long)skb->data + L2_LEN;

	return !(p->flags & PACKET_IPV6) && (void *)(ip + 1) <= (void *)(long)skb->data_end &&
	       !(ip->frag_off & bpf_htons(IP_DF));
}

/* The kernel is to tell its sender, and not to cut it up: pieces would leave as they are. */
__rare int service_flow__keep_whole(struct __sk_buff *skb, const struct packet *p)
{
	const __u32 at = L2_LEN + offsetof(struct iphdr, frag_off);
	__be16 old, whole;

	if (!p || !service_flow__may_be_cut(skb, p) || bpf_skb_load_bytes(skb, at, &old, sizeof(old)))
		return 0;
	whole = old | bpf_htons(IP_DF);
	bpf_l3_csum_replace(skb, L2_LEN + offsetof(struct iphdr, check), old, whole, sizeof(whole));
	bpf_skb_store_bytes(skb, at, &whole, sizeof(whole), 0);
	return 0;
}

/* By its row, whose way is WAY_DSR: as the client sent it. CONTINUE if the row does not hold any more. */
__rare int service_flow__send_direct(struct __sk_buff *skb, const struct packet *p, const struct config *config,
				     const struct flow *flow)
{
	const struct translation *to;
	const struct node *node;
	const struct pair *room;
	int outcome, rewritten;
	__u64 way;

	if (!p || !config || !flow)
		return DROP_NOT_READY;
	way = READ_ONCE(flow->way);
	if (unlikely(way__generation(way) != READ_ONCE(config->generation)))
		return CONTINUE;
	node = node__find(way__node(way));
	if (unlikely(!node))
		return DROP_NO_NODE;
	outcome = hop__check(skb, p, dsr__mtu(node, config));
	if (likely(outcome == CONTINUE) || (outcome == PASS_STACK_MTU && service_flow__may_be_cut(skb, p)))
		return dsr__send(skb, p, config, node, flow);
	to = &flow->to;
	if (outcome == PASS_STACK_MTU && config->flags & CONFIG_NATIVE) {
		service_flow__lend(p, flow);
		room = pair__get();
		if (!room)
			return outcome;
		to = &room->row.to;
	}
	skb->mark |= SB_DONE;
	rewritten = rewrite__both(skb, p, config, to);
	return rewritten == CONTINUE ? outcome : rewritten;
}

/* The same by any other way. Answers on the stack way stay as they are: they are rewritten where they leave it. */
__rare int service_flow__send_rewritten(struct __sk_buff *skb, const struct packet *p,
					const struct config *config, const struct flow *flow, bool is_sending)
{
	const struct endpoint *pod = NULL;
	const struct node *node = NULL;
	const struct translation *to;
	int outcome, rewritten;
	enum way_kind kind;
	__u32 mtu;
	__u64 way;

	if (!p || !config || !flow)
		return DROP_NOT_READY;
	way = READ_ONCE(flow->way);
	kind = way__kind(way);
	if (kind == WAY_STACK) {
		if (!(flow->flags & FLOW_OPENER))
			return PASS_STACK;
		/* A pod may come to another's node as what it is, a host outside may not. */
		if (way__node(way) && !flow->source_incarnation)
			skb->mark |= SB_LEND;
		outcome = rewrite__both(skb, p, config, &flow->to);
		return outcome == CONTINUE ? PASS_STACK : outcome;
	}
	if (unlikely(way__generation(way) != READ_ONCE(config->generation)))
		return CONTINUE;
	if (kind == WAY_LOCAL) {
		pod = endpoint__find(&flow->to.daddr);
		if (unlikely(!endpoint__is_pod(pod) || pod->incarnation != flow->target_incarnation))
			return CONTINUE;
		mtu = pod->mtu;
	} else if (kind == WAY_OUT) {
		mtu = flow->mtu;
	} else {
		node = node__find(way__node(way));
		if (unlikely(!node))
			return DROP_NO_NODE;
		mtu = node->mtu;
	}
	outcome = hop__check(skb, p, mtu);
	if (unlikely(outcome == PASS_STACK_MTU && kind == WAY_NODE && service_flow__is_nodes(p, flow) &&
		     service_flow__may_be_cut(skb, p)))
		outcome = CONTINUE;
	if (unlikely(outcome == CONTINUE && service_flow__is_piece(p, flow)))
		outcome = PASS_STACK;
	to = &flow->to;
	if (unlikely(outcome != CONTINUE && service_flow__is_nodes(p, flow))) {
		const struct pair *room = pair__get();

		if (outcome == PASS_STACK_MTU)
			service_flow__keep_whole(skb, p);
		service_flow__lend(p, flow);
		if (!room)
			return outcome;
		to = &room->row.to;
		skb->mark |= SB_DONE;
	} else if (unlikely(outcome != CONTINUE)) {
		if (!service_flow__is_told_rewritten(p, flow)) {
			if (!(flow->flags & FLOW_OPENER))
				return kind == WAY_OUT ? outside__to_stack(skb, outcome) : outcome;
			if (outcome == PASS_STACK_MTU)
				service_flow__keep_whole(skb, p);
			return outcome;
		}
		if (kind != WAY_NODE)	/* sb_to_overlay has a tunnel key to set, yet */
			skb->mark |= SB_DONE;
	}
	rewritten = rewrite__both(skb, p, config, to);
	if (unlikely(rewritten != CONTINUE))
		return rewritten;
	if (unlikely(outcome != CONTINUE))
		return outcome;
	if (pod)
		return arrive(skb, p, pod, is_sending);
	if (!node) {
		outcome = hop__take(skb, p, 0);
		return outcome == CONTINUE ? outside__redirect(skb, way) : outcome;
	}
	return kind == WAY_NODE ? overlay__go(skb, p, config, node) :
				  uplink__send(skb, p, config, node);
}

/* By its row. `is_sending` as for arrive(). CONTINUE if the row does not hold any more; then nothing was done. */
static __always_inline int service_flow__send(struct __sk_buff *skb, const struct packet *p,
					      const struct config *config, const struct flow *flow,
					      bool is_sending)
{
	if (way__kind(READ_ONCE(flow->way)) == WAY_DSR)
		return service_flow__send_direct(skb, p, config, flow);
	return service_flow__send_rewritten(skb, p, config, flow, is_sending);
}

/* The same by the row that the packet's key finds by now. SERVICE_ENDED if there is none, or if that does not
 * hold. */
__rare int service_flow__send_found(struct __sk_buff *skb, const struct packet *p, const struct config *config,
				    bool is_sending)
{
	struct pair *pair = pair__get();
	const struct flow *flow;
	int outcome;

	if (!pair || !p || !config)
		return DROP_NOT_READY;
	pair->key = p->key;
	flow = flow__find(&pair->key);
	if (!flow || !(flow->flags & FLOW_SERVICE))
		return SERVICE_ENDED;
	outcome = service_flow__send(skb, p, config, flow, is_sending);
	return outcome == CONTINUE ? SERVICE_ENDED : outcome;
}

/* Where the packets of pair->row leave the cluster by now: one of enum route, with *way and the row's MTU. */
static __always_inline int service_flow__route(struct __sk_buff *skb, const struct packet *p,
					       const struct config *config, struct pair *pair, __u64 *way)
{
	struct serving *serving = serving__get();
	bool keeps_source = !(pair->row.flags & FLOW_OPENER) ||
			    addr__equal(&pair->row.to.saddr, &p->key.saddr);
	int route;

	if (!serving)
		return ROUTE_NONE;
	serving->packet = *p;
	serving->packet.key.daddr = pair->row.to.daddr;
	serving->packet.key.dport = pair->row.to.dport;
	if (keeps_source) {
		serving->packet.key.saddr = pair->row.to.saddr;
		serving->packet.key.sport = pair->row.to.sport;
	}
	route = outside__route(skb, &serving->packet, config, &serving->out, keeps_source);
	if (route != ROUTE_OUT)
		return route;
	if (!keeps_source && !outside__is_local(skb, &pair->row.to.saddr))
		return ROUTE_FOREIGN;
	pair->row.mtu = serving->out.mtu;
	*way = way__make(WAY_OUT, serving->out.ifindex, READ_ONCE(config->generation));
	return ROUTE_OUT;
}

/*
 * A row of an older generation, or tick: stays with its backend as long as that is where it was. CONTINUE with
 * the row written anew, or SERVICE_ENDED. While no route leads there the stack tells a pod so; what comes in for an
 * address of the node it would take for its own, and reset the connection.
 */
__rare int service_flow__renew(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	struct pair *pair = pair__get();
	const struct flow *flow;
	int route = ROUTE_OUT;
	__u64 way = 0;

	if (!pair || !p || !config)
		return DROP_NOT_READY;
	pair->key = p->key;
	flow = flow__find(&pair->key);
	if (!flow || !(flow->flags & FLOW_SERVICE))
		return SERVICE_ENDED;
	pair->row = *flow;
	if (way__kind(pair->row.way) == WAY_OUT)
		route = service_flow__route(skb, p, config, pair, &way);
	else
		way = service_flow__way_to(&pair->row.to.daddr, config);
	if (way__kind(pair->row.way) == WAY_DSR)
		way = dsr__is_in_vain(p, &pair->row) ? 0 : dsr__way(way, config);
	if (route == ROUTE_NONE)
		return pair->row.source_incarnation ? PASS_STACK : DROP_NO_ROUTE;
	if (!way || pair->row.target_incarnation !=
			    endpoint__incarnation(endpoint__find(&pair->row.to.daddr))) {
		flow__end_pair(&pair->key);
		return SERVICE_ENDED;
	}
	flow = flow__find(&pair->key);	/* as it is by now: it may have ended meanwhile */
	if (!flow)
		return SERVICE_ENDED;
	pair->row.flags = flow->flags;
	pair->row.seen = flow->seen;
	pair->row.way = way;
	bpf_map_update_elem(&sb_flows, &pair->key, &pair->row, BPF_EXIST);
	return CONTINUE;
}

/*
 * The packet of a flow that has that row. SERVICE_ENDED, and then the row is gone; else what became of it.
 * `is_due`: the row is to be judged again, whatever it says.
 */
static __always_inline int service_flow__go(struct __sk_buff *skb, const struct packet *p,
					    const struct config *config, const struct flow *flow,
					    bool is_sending, bool is_due)
{
	int outcome = CONTINUE;

	if (likely(!is_due))
		outcome = service_flow__send(skb, p, config, flow, is_sending);
	if (likely(outcome != CONTINUE))
		return outcome;
	outcome = service_flow__renew(skb, p, config);
	if (outcome != CONTINUE)
		return outcome;
	return service_flow__send_found(skb, p, config, is_sending);
}

/* A packet that came in by a device, of a flow that lives: likewise, and the rows hear of it. */
static __always_inline int service_flow__continue(struct __sk_buff *skb, const struct packet *p,
						  const struct config *config, struct flow *flow)
{
	__u32 seen = READ_ONCE(flow->seen);
	__u64 way = READ_ONCE(flow->way);
	int outcome = flow__touch(flow, p);

	if (unlikely(outcome != CONTINUE))
		return outcome;
	/* Routes are asked again once a tick: they change with no agent, too. A list is long to look through. */
	return service_flow__go(skb, p, config, flow, false,
				READ_ONCE(flow->seen) != seen &&
					(way__kind(way) == WAY_OUT ||
					 (way__kind(way) == WAY_DSR && p->tcp_flags & TCP_SYN)));
}
