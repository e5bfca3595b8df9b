/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Host end of a pod, tc ingress: what a pod sends is judged, and goes by the short way if it may. */
#include "bpf.h"
#include "arrival.h"
#include "flows.h"
#include "fragments.h"
#include "guard.h"
#include "icmp_error.h"
#include "outside.h"
#include "outside_error.h"
#include "overlay.h"
#include "service_error.h"
#include "translate.h"
#include "uplink.h"
#include "vacant.h"

/* First packet of a flow, or the first one in another generation, that stays in the cluster or with the
 * stack: chooses the way. `known` is that of a flow that lives already, or 0. CONTINUE with *way, or an
 * outcome. */
__rare int choose(const struct packet *p, const struct config *config, __u32 source_incarnation,
		  __u64 known, __u64 *way)
{
	enum way_kind kind = WAY_STACK, back = WAY_STACK;
	const struct endpoint *target;
	__u32 generation, node = 0;
	struct opening o = {};

	if (!p || !config || !way)
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);
	target = endpoint__find(&p->key.daddr);
	o.source_incarnation = source_incarnation;
	o.target_incarnation = endpoint__incarnation(target);
	o.is_known = !!known;
	if (endpoint__is_pod(target)) {
		kind = WAY_LOCAL;
	} else if (!target) {
		const struct node *to;

		node = ipcache__remote_node(&p->key.daddr, config->own_node);
		to = node__find(node);
		if (to && config__has_tunnel(config))
			kind = WAY_NODE;
		else if (to && to->flags & NODE_ON_UPLINK && config->uplink_ifindex)
			kind = WAY_UPLINK;
	}
	if (known ? way__kind(known) == WAY_STACK : packet__is_midstream(p))
		kind = WAY_STACK;	/* to its end; and whoever translates it knows (ADR 0010) */
	if (flow__is_stack_back(p, o.source_incarnation, o.target_incarnation))
		kind = WAY_STACK;
	if (kind != WAY_STACK)
		back = WAY_LOCAL;
	o.way = way__make(kind, node, generation);
	o.way_back = way__make(back, 0, generation);
	o.target_node = node;
	*way = o.way;
	return flow__open(p, &o);
}

/* The same for a flow that leaves the cluster under the node's address. *way is left 0 if it is none. */
static __always_inline int begin_out(struct __sk_buff *skb, const struct packet *p,
				     const struct config *config, __u64 *way)
{
	const struct endpoint *source = endpoint__find(&p->key.saddr);
	struct way_out out = {};
	int outcome;

	if (!source || !outside__is_first(p) || !outside__is_ours(p, config, source) ||
	    flow__is_stack_back(p, source->incarnation, 0) ||
	    outside__route(skb, p, config, &out, false) != ROUTE_OUT)
		return CONTINUE;
	outcome = translate__begin(skb, p, config, &out, source->incarnation);
	if (outcome == CONTINUE)
		*way = way__make(WAY_OUT, out.ifindex, READ_ONCE(config->generation));
	return outcome;
}

/* Likewise; also of a flow that has left so until now. */
__rare int choose_out(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		      bool is_known, __u64 *way)
{
	struct pair *room = pair__get();
	const struct flow *flow;

	if (!room || !p || !config || !way)
		return DROP_NOT_READY;
	room->key = p->key;
	flow = flow__find(&room->key);
	if (flow && flow->flags & FLOW_TRANSLATED) {
		/* Asked again: another CPU may have begun it just now. */
		if (flow->source_incarnation != endpoint__incarnation(endpoint__find(&p->key.saddr)) ||
		    flow__is_reopened(flow, p->tcp_flags))
			flow__end_pair(&room->key);
		else
			translate__renew(skb, p, config, way);
	} else if (is_known) {
		return CONTINUE;
	}
	return *way ? CONTINUE : begin_out(skb, p, config, way);
}

/* Where serving->packet goes, which has its backend: both ways, and under which address. CONTINUE or an
 * outcome. */
__rare int place(struct __sk_buff *skb, const struct config *config)
{
	struct serving *serving = serving__get();
	const struct service_config *services = service_config__get();
	const struct endpoint *source;
	struct packet *p;
	int outcome;
	__u64 way;

	if (!serving || !services || !config)
		return DROP_NOT_READY;
	p = &serving->packet;
	source = endpoint__find(&p->key.saddr);
	if (!source)
		return DROP_SPOOFED_SOURCE;
	__builtin_memset(&serving->opening, 0, sizeof(serving->opening));
	serving->mtu = 0;
	serving->back_mtu = 0;
	way = service_flow__way_to(&p->key.daddr, config);
	serving->opening.source_incarnation = source->incarnation;
	serving->opening.target_incarnation =
		endpoint__incarnation(endpoint__find(&p->key.daddr));
	serving->opening.target_node = way__node(way);
	outcome = guard__tunnel_port(p, config);
	if (outcome != CONTINUE)
		return outcome;
	if (!way && outside__is_ours(p, config, source) &&
	    outside__route(skb, p, config, &serving->out, false) == ROUTE_OUT) {
		p->key.saddr = serving->out.source;
		serving->mtu = serving->out.mtu;
		way = way__make(WAY_OUT, serving->out.ifindex, READ_ONCE(config->generation));
	}
	/* The pod itself: it would answer itself past us. */
	if (addr__equal(&p->key.saddr, &p->key.daddr)) {
		p->key.saddr = p->flags & PACKET_IPV6 ? services->source6 : services->source4;
		if (addr__is_zero(&p->key.saddr))
			return DROP_NOT_READY;
	}
	if (!way)
		way = way__make(WAY_STACK, 0, READ_ONCE(config->generation));
	serving->opening.way = way;
	serving->opening.way_back = way__make(way__kind(way) == WAY_STACK ? WAY_STACK : WAY_LOCAL, 0,
					      READ_ONCE(config->generation));
	return CONTINUE;
}

/*
 * The first packet of a flow to a service, or one of a flow that kube-proxy or the like has begun: of UDP, whose
 * next datagram may go elsewhere. SERVICE_NONE, CONTINUE with the rows written, or an outcome.
 */
static __always_inline int serve(struct __sk_buff *skb, const struct packet *p,
				 const struct config *config, __u64 known)
{
	int outcome;

	if (!(config->flags & CONFIG_SERVICES))
		return SERVICE_NONE;
	if (known && (p->key.proto != IPPROTO_UDP || way__kind(known) != WAY_STACK))
		return SERVICE_NONE;
	outcome = service_flow__pick(skb, p, false);
	if (outcome == CONTINUE)
		outcome = place(skb, config);
	return outcome == CONTINUE ? service_flow__begin(skb, p, config) : outcome;
}

/* A flow to a service has this one's answers: the later one, which is this, gets another port. */
static __always_inline int step_aside(struct __sk_buff *skb, const struct packet *p,
				      const struct config *config)
{
	struct serving *serving = serving__get();
	int outcome;

	if (!serving || (p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP) ||
	    packet__is_midstream(p))
		return DROP_TRANSLATION_TAKEN;
	serving->packet = *p;
	serving->client.service = 0;
	outcome = place(skb, config);
	return outcome == CONTINUE ? service_flow__begin(skb, p, config) : outcome;
}

/* CONTINUE with *way, which is 0 of a flow that goes by its row, or an outcome. */
static __always_inline int judge(struct __sk_buff *skb, const struct packet *p,
				 const struct config *config, __u32 incarnation, __u64 known,
				 __u64 *way)
{
	int outcome = serve(skb, p, config, known);

	*way = 0;
	if (unlikely(outcome != SERVICE_NONE))
		return outcome;
	outcome = choose_out(skb, p, config, known, way);
	if (outcome != CONTINUE || *way)
		return outcome;
	if (unlikely(packet__is_midstream(p)) && vacant__is_told(p, config))
		return service_flow__refuse(skb);
	outcome = choose(p, config, incarnation, known, way);
	if (likely(outcome != DROP_TRANSLATION_TAKEN))
		return outcome;
	*way = 0;
	return step_aside(skb, p, config);
}

static __always_inline int send(struct __sk_buff *skb, const struct packet *p,
				const struct config *config, __u64 way)
{
	const struct node *node = node__find(way__node(way));

	return node ? overlay__send(skb, p, config, node) : DROP_NO_NODE;
}

static __always_inline int leave(struct __sk_buff *skb, const struct packet *p,
				 const struct config *config, __u64 way)
{
	const struct node *node = node__find(way__node(way));

	return node ? uplink__send(skb, p, config, node) : DROP_NO_NODE;
}

/* Not on the fast path: a way just chosen, or that of an ICMP error. */
__rare int go(struct __sk_buff *skb, const struct packet *p, const struct config *config,
			 __u64 way, bool is_netkit)
{
	const struct endpoint *target;
	const struct flow *flow;
	struct flow_key key;

	if (!p || !config)
		return DROP_NOT_READY;
	switch (way__kind(way)) {
	case WAY_LOCAL:
		target = endpoint__find(&p->key.daddr);
		return endpoint__is_pod(target) ? arrive(skb, p, target, is_netkit) : PASS_STACK;
	case WAY_NODE:
		return send(skb, p, config, way);
	case WAY_UPLINK:
		return leave(skb, p, config, way);
	case WAY_OUT:
		key = p->key;
		flow = flow__find(&key);
		return flow && flow->flags & FLOW_TRANSLATED ?
			       outside__send(skb, p, config, flow, way) : PASS_STACK;
	default:
		return PASS_STACK;
	}
}

/* An ICMP error goes the way of the packets it answers: a translated flow's must meet its translator,
 * and any other must not meet a conntrack that does not know its flow. It never begins a flow. */
__rare int go_error(struct __sk_buff *skb, const struct packet *p,
			       const struct config *config, bool is_netkit)
{
	struct serving *serving = serving__get();
	struct icmp_error *error;
	const struct flow *flow;
	int outcome;
	__u64 way;

	if (!p || !config || !serving)
		return DROP_NOT_READY;
	outcome = guard__icmp_error(skb, p);
	if (outcome != CONTINUE)
		return outcome;
	error = service_error__room(serving);
	if (!parse_icmp_error(skb, p, error))
		return PASS_STACK_ERROR;
	flow = flow__find(&error->about);
	if (!flow)
		return PASS_STACK_ERROR;
	if (flow->flags & FLOW_SERVICE)
		return service_error__send(skb, p, config, flow, is_netkit);
	way = READ_ONCE(flow->way);
	if (way__kind(way) == WAY_OUT)
		return outside__send_error(skb, p, error, flow);
	if (way__kind(way) != WAY_STACK && way__generation(way) != READ_ONCE(config->generation))
		return PASS_STACK_ERROR;
	return go(skb, p, config, way, is_netkit);
}

/* Its first was not seen. Where the stack would translate it, it would do so to half of a datagram. */
__rare int pass_fragment(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	const struct endpoint *source;
	struct way_out out = {};

	if (!p || !config)
		return DROP_NOT_READY;
	/* Of the others in those ranges nobody puts it together, either. */
	if (config->flags & CONFIG_SERVICES && service_flow__is_address(&p->key.daddr))
		return DROP_FRAGMENT_ORDER;
	source = endpoint__find(&p->key.saddr);
	if (source && outside__has_ports(p) && outside__is_ours(p, config, source) &&
	    outside__route(skb, p, config, &out, false) == ROUTE_OUT)
		return DROP_FRAGMENT_ORDER;
	return PASS_STACK_FRAGMENT;
}

static __always_inline int from_pod(struct __sk_buff *skb)
{
	const struct config *config = config__get();
	const struct endpoint *source, *target;
	struct packet p = {};
	struct flow *flow;
	__u64 way = 0, known = 0;
	__u32 generation;
	bool is_netkit;
	int outcome;

	if (unlikely(!config))
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);

	outcome = parse(skb, &p);
	if (unlikely(outcome == PARSED_ARP))
		return guard__arp(skb);
	if (unlikely(outcome < 0))
		return -outcome;
	if (unlikely(p.flags & PACKET_NEIGHBOUR))
		return guard__nd(skb, &p);

	source = endpoint__find(&p.key.saddr);
	if (unlikely(!endpoint__is_behind(source, skb->ifindex)))
		return guard__foreign_source(&p);
	is_netkit = source->flags & ENDPOINT_NETKIT;
	if (unlikely(is_netkit && !packet__is_protocol(skb, &p)))
		return DROP_BAD_HEADER;

	if (unlikely(p.flags & PACKET_RARE)) {
		if (p.flags & PACKET_ICMP_ERROR)
			return go_error(skb, &p, config, is_netkit);
		fragment__resolve(&p);
		if (p.flags & PACKET_PORTS_UNKNOWN)
			return pass_fragment(skb, &p, config);
	}

	if (unlikely(p.key.dport == config->tunnel_port && p.key.proto == IPPROTO_UDP)) {
		outcome = guard__tunnel_port(&p, config);
		if (outcome != CONTINUE)
			return outcome;
	}

	flow = flow__find(&p.key);
	if (likely(flow && flow->source_incarnation == source->incarnation &&
		   !flow__is_reopened(flow, p.tcp_flags))) {
		__u32 seen = READ_ONCE(flow->seen);

		way = READ_ONCE(flow->way);
		outcome = flow__touch(flow, &p);
		if (unlikely(outcome != CONTINUE))
			return outcome;
		if (unlikely(flow->flags & FLOW_SERVICE)) {
			outcome = service_flow__go(skb, &p, config, flow, is_netkit,
						   way__kind(way) == WAY_OUT &&
							   READ_ONCE(flow->seen) != seen);
			if (likely(outcome != SERVICE_ENDED))
				return outcome;
			goto judge;
		}
		known = way;
		if (way__kind(way) == WAY_STACK) {
			/* Services may have become ours since. */
			if (unlikely(p.key.proto == IPPROTO_UDP && way__generation(way) != generation &&
				     config->flags & CONFIG_SERVICES))
				goto judge;
			return PASS_STACK;
		}
		if (likely(way__generation(way) == generation)) {
			if (way__kind(way) == WAY_NODE)
				return send(skb, &p, config, way);
			if (way__kind(way) == WAY_OUT) {
				/* A reply has the key of a ping of the pod's own. */
				if (unlikely(p.key.icmp_class &&
					     !is_echo_request(p.key.proto, p.icmp_type)))
					return PASS_STACK;
				/* Routes are asked again once a tick: they change with no agent, too. */
				if (likely(READ_ONCE(flow->seen) == seen))
					return outside__send(skb, &p, config, flow, way);
				goto judge;
			}
			if (way__kind(way) == WAY_UPLINK)
				return leave(skb, &p, config, way);
			target = endpoint__find(&p.key.daddr);
			if (likely(endpoint__is_pod(target) &&
				   target->incarnation == flow->target_incarnation))
				return arrive(skb, &p, target, is_netkit);
			known = 0;
		}
	}
	if (addr__is_untracked(&p.key.daddr))
		return addr__is_loopback(&p.key.daddr) ? DROP_LOOPBACK : PASS_UNTRACKED;
judge:
	outcome = judge(skb, &p, config, source->incarnation, known, &way);
	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = judge(skb, &p, config, source->incarnation, known, &way);
	if (outcome != CONTINUE)
		return outcome;
	if (way)
		return go(skb, &p, config, way, is_netkit);
	outcome = service_flow__send_found(skb, &p, config, is_netkit);
	return outcome == SERVICE_ENDED ? DROP_NO_ENDPOINT : outcome;
}

SEC("tc")
int sb_from_pod(struct __sk_buff *skb)
{
	return finish(skb, PLACE_FROM_POD, from_pod(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
