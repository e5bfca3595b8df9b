/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Services that are asked for from outside: where the backend is says by which way packets go there and come
 * back. A client keeps its address if the backend is on this node; else the node asks in its own name, so that
 * answers come back here.
 */
#pragma once

#include "client.h"
#include "guard_tunnel.h"
#include "service_flow.h"

/*
 * A connection's first packet, or a datagram: of others the kernel says that there is no connection. Where nodes
 * agree on backends, also what a client sends in the middle of one.
 */
static __always_inline bool service_outside__is_asking(const struct packet *p, const struct config *config)
{
	if (p->flags & PACKET_FRAGMENT_LATER)
		return false;
	if (p->key.proto == IPPROTO_UDP)
		return true;
	if (p->key.proto != IPPROTO_TCP)
		return false;
	if ((p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		return true;
	return config->flags & CONFIG_MAGLEV && !(p->tcp_flags & (TCP_SYN | TCP_RST));
}

/* CONTINUE: a service is asked for by who may ask. SERVICE_NONE, or DROP_SOURCE_RANGE. */
__rare int service_outside__admit(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	const struct service *service;

	if (!p || !config)
		return SERVICE_NONE;
	service = service__find(&p->key.daddr, p->key.dport, p->key.proto);
	if (!service || !client__is_outside(p, config) || client__is_asked(skb, p))
		return SERVICE_NONE;
	return service__admits(service, &p->key.saddr) ? CONTINUE : DROP_SOURCE_RANGE;
}

/* By which uplink answers leave: it is to be known when the first of them is an ICMP error. The row says so; or
 * that it is to be looked up by the first. */
__rare int service_outside__place_answers(struct __sk_buff *skb, const struct packet *p,
					  const struct config *config)
{
	struct serving *serving = serving__get();
	struct flow_key backend;
	__u32 generation;

	if (!serving || !p || !config)
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);
	backend = serving->packet.key;
	flow_key__reverse(&serving->packet.key, &p->key);
	if (outside__route(skb, &serving->packet, config, &serving->out, true) == ROUTE_OUT) {
		serving->opening.way_back = way__make(WAY_OUT, serving->out.ifindex, generation);
		serving->back_mtu = serving->out.mtu;
	} else {
		serving->opening.way_back = way__make(WAY_OUT, 0, generation - 1);
	}
	serving->packet.key = backend;
	return CONTINUE;
}

/* Says of the flow in the making how both directions go. CONTINUE, or a drop. */
__rare int service_outside__place(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	const struct service_config *own = service_config__get();
	struct serving *serving = serving__get();
	const struct addr *name;
	struct opening *o;
	int outcome, route;

	if (!serving || !own || !p || !config)
		return DROP_NOT_READY;
	o = &serving->opening;
	__builtin_memset(o, 0, sizeof(*o));
	serving->mtu = 0;
	serving->back_mtu = 0;
	outcome = guard__tunnel_port(&serving->packet, config);
	if (outcome != CONTINUE)
		return outcome;
	name = p->flags & PACKET_IPV6 ? &own->source6 : &own->source4;
	o->way = service_flow__way_to(&serving->packet.key.daddr, config);
	if (way__node(o->way) && dsr__is_for(p, config, o->way)) {
		o->target_node = way__node(o->way);
		o->way = dsr__way(o->way, config);
		o->way_back = way__make(WAY_OUT, 0, READ_ONCE(config->generation) - 1);
		return CONTINUE;
	}
	switch (way__kind(o->way)) {
	case WAY_LOCAL:
		o->target_incarnation = endpoint__incarnation(endpoint__find(&serving->packet.key.daddr));
		return service_outside__place_answers(skb, p, config);
	case WAY_NODE:
	case WAY_UPLINK:
		if (addr__is_zero(name))
			return DROP_NOT_READY;
		o->target_node = way__node(o->way);
		serving->packet.key.saddr = *name;
		return service_outside__place_answers(skb, p, config);
	case WAY_STACK:
		/* Of another node's pod; or the node itself has that address, and sees who asks. */
		o->way_back = way__make(WAY_STACK, 0, READ_ONCE(config->generation));
		return CONTINUE;
	default:
		route = outside__route(skb, &serving->packet, config, &serving->out, false);
		/* A row says for life which way is right while there is a route. */
		if (route == ROUTE_NONE && !node_addr__find(&serving->packet.key.daddr))
			return DROP_NO_ROUTE;
		if (route != ROUTE_OUT)
			break;
		o->way = way__make(WAY_OUT, serving->out.ifindex, READ_ONCE(config->generation));
		serving->mtu = serving->out.mtu;
		serving->packet.key.saddr = serving->out.source;
		return service_outside__place_answers(skb, p, config);
	}
	/* The node itself, or by a device that is no uplink of ours: the stack's. */
	o->way = way__make(WAY_STACK, 0, READ_ONCE(config->generation));
	o->way_back = o->way;
	return CONTINUE;
}

/* The backend knows the rest of a connection by the client's own address only. Towards pods of other nodes the
 * kernel lends it another, where it leads there. */
static __always_inline bool service_outside__goes_on(const struct packet *p)
{
	const struct serving *serving = serving__get();
	__u64 way;

	if (!packet__is_midstream(p))
		return true;
	if (!serving || !addr__equal(&serving->packet.key.saddr, &p->key.saddr))
		return false;
	way = serving->opening.way;
	return way__kind(way) != WAY_STACK || !way__node(way);
}

/* Begins a flow to a backend. CONTINUE: its rows are there. SERVICE_NONE: no service is asked for. */
static __always_inline int service_outside__begin(struct __sk_buff *skb, const struct packet *p,
						  const struct config *config)
{
	int outcome = service_outside__admit(skb, p, config);

	if (outcome == CONTINUE)
		outcome = service_flow__pick(skb, p, true);
	if (outcome == CONTINUE)
		outcome = service_outside__place(skb, p, config);
	if (outcome == CONTINUE && !service_outside__goes_on(p))
		outcome = SERVICE_NONE;
	return outcome == CONTINUE ? service_flow__begin(skb, p, config) : outcome;
}

/* To an address of a service range, and of no flow: what no service has, nobody has. Who asks for another
 * port of one, or goes on with a connection that nobody knows, is told so. */
__rare int service_outside__miss(struct __sk_buff *skb, const struct packet *p)
{
	struct service_key key = {};

	if (!p)
		return PASS_FOREIGN;
	key.addr = p->key.daddr;
	if (!bpf_map_lookup_elem(&sb_services, &key))	/* which every address has */
		return DROP_SERVICE_ADDRESS;
	if (p->flags & PACKET_PORTS_UNKNOWN)
		return DROP_FRAGMENT_ORDER;
	return p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP ? service_flow__refuse(skb) :
									    PASS_FOREIGN;
}
