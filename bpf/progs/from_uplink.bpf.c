/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplink, tc ingress. Answers to what pods sent out under the node's address go into those pods. Who asks for
 * a service is given a backend. With a
 * tunnel: what comes past it from or to a pod range is dropped; what comes by it is judged here if the
 * kernel unpacks it, and behind the overlay device else. Without a tunnel: what other nodes send to pods
 * of this node arrives, by the short way if its flow may; a device for direct return there may be besides.
 *
 * Most of what it sees is the node's own business, and passes: what it does not understand, too.
 */
#include "bpf.h"
#include "arrival.h"
#include "flows.h"
#include "fragments.h"
#include "inbound.h"
#include "kernel_tunnel.h"
#include "service_outside.h"
#include "translated.h"
#include "uplink.h"
#include "vacant.h"

/* Our own outer packets, known before any lookup. Where the address is another (behind a translator)
 * they are recognised as nobody's of the pod network instead. */
static __always_inline bool is_tunnel(const struct packet *p, const struct config *config)
{
	return p->key.proto == IPPROTO_UDP && p->key.dport == config->tunnel_port &&
	       config->tunnel_port &&
	       (addr__equal(&p->key.daddr, &config->tunnel_local4) ||
		addr__equal(&p->key.daddr, &config->tunnel_local6));
}

/* With the kernel's own VXLAN device there is no program of ours behind it. It listens on every address
 * of the node, and finds the port behind any number of extension headers. */
static __always_inline int kernel_tunnel(struct __sk_buff *skb, const struct packet *p,
					 const struct config *config, int parsed)
{
	if (unlikely(parsed == -DROP_EXTENSION_HEADERS && config->flags & CONFIG_TUNNEL_IPV6))
		return DROP_EXTENSION_HEADERS;
	if (parsed != PARSED_IP || p->key.proto != IPPROTO_UDP || !config->tunnel_port ||
	    p->key.dport != config->tunnel_port || p->flags & PACKET_FRAGMENT_LATER)
		return CONTINUE;
	return kernel_tunnel__judge(skb, p, config);
}

/* A connection's or a ping's first packet. Of others the first one seen may be the answer to something
 * that the kernel translated, and has to pass the translator (ADR 0010). */
static __always_inline bool is_first(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return !packet__is_midstream(p);
	case IPPROTO_ICMP:
		return p->icmp_type == ICMP_ECHO;
	case IPPROTO_ICMPV6:
		return p->icmp_type == ICMPV6_ECHO_REQUEST;
	}
	return false;
}

/* First packet of a flow from the pods or addresses of another node, or what its row says no longer
 * holds. CONTINUE with *way, or an outcome. */
__rare int choose(const struct packet *p, const struct config *config, __u32 node,
		  const struct flow *known, __u64 *way)
{
	enum way_kind kind = WAY_STACK, back = WAY_STACK;
	const struct endpoint *target;
	const struct node *from;
	struct opening o = {};
	__u32 generation;

	if (!p || !config || !way)
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);
	target = endpoint__find(&p->key.daddr);
	from = node__find(node);
	o.target_incarnation = endpoint__incarnation(target);
	o.source_node = node;
	o.is_known = !!known;
	if (known)
		kind = way__kind(READ_ONCE(known->way)) == WAY_STACK ? WAY_STACK : WAY_LOCAL;
	else if (is_first(p))
		kind = WAY_LOCAL;
	/* The answers must be able to go by the short way, too. */
	if (!from || !(from->flags & NODE_ON_UPLINK) || !config->uplink_ifindex ||
	    ipcache__remote_node(&p->key.saddr, config->own_node) != node)
		kind = WAY_STACK;
	if (flow__is_stack_back(p, 0, o.target_incarnation))
		kind = WAY_STACK;
	if (kind != WAY_STACK)
		back = WAY_UPLINK;
	o.way = way__make(kind, 0, generation);
	o.way_back = way__make(back, node, generation);
	*way = o.way;
	return flow__open(p, &o);
}

__rare int go_error(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	if (!p || !config)
		return DROP_NOT_READY;
	return inbound__go_error(skb, p, READ_ONCE(config->generation));
}

/* To a pod of this node, from whoever is not one. No function of its own: what it calls goes deep, and has
 * the stack for it. */
static __always_inline int arrive_first(struct __sk_buff *skb, const struct packet *p,
					const struct config *config, const struct flow *known,
					__u32 node)
{
	__u64 way = 0;
	int outcome;

	if (p->flags & PACKET_ICMP_ERROR)
		return go_error(skb, p, config);
	if (p->flags & PACKET_PORTS_UNKNOWN)
		return PASS_STACK_FRAGMENT;
	if (p->flags & PACKET_NEIGHBOUR)
		return PASS_NEIGHBOUR;
	if (!node)
		node = node__id_of(&p->key.saddr);
	if (!node)	/* from outside the cluster: sb_to_pod makes the rows */
		return PASS_STACK;
	outcome = choose(p, config, node, known, &way);
	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = choose(p, config, node, known, &way);
	return outcome == CONTINUE ? inbound__go(skb, p, way) : outcome;
}

/* Without a tunnel. `parsed` may be a negative outcome: then nothing past the addresses is known. `flow` is
 * the packet's, if it has a row. */
static __always_inline int native(struct __sk_buff *skb, struct packet *p,
				  const struct config *config, int parsed, struct flow *flow)
{
	const struct endpoint *target = endpoint__find(&p->key.daddr);
	struct flow *known = NULL;
	__u32 node;
	__u64 way;

	if (!endpoint__is_pod(target))
		flow = NULL;
	else if (unlikely(p->flags & PACKET_FRAGMENT_FIRST))
		fragment__resolve(p);
	/* The source was looked at when the row was made, and is that node's. */
	if (flow && flow->source_node && !flow->source_incarnation &&
	    flow->target_incarnation == target->incarnation &&
	    !flow__is_reopened(flow, p->tcp_flags)) {
		known = flow;
		way = READ_ONCE(flow->way);
		if (likely(way__generation(way) == READ_ONCE(config->generation))) {
			flow__touch(flow, p);
			return way__kind(way) == WAY_LOCAL ? arrive(skb, p, target, false) : PASS_STACK;
		}
	}
	if (ipcache__range(&p->key.saddr, config->own_node, &node) == RANGE_OWN)
		return DROP_NATIVE_SOURCE;
	if (!endpoint__is_pod(target)) {
		if (!target && config->flags & CONFIG_SERVICES &&
		    ipcache__range(&p->key.daddr, config->own_node, &node) == RANGE_SERVICES)
			return service_outside__miss(skb, p);
		return parsed == PARSED_IP && packet__is_midstream(p) && vacant__is_told(p, config) ?
			       service_flow__refuse(skb) : PASS_FOREIGN;
	}
	if (parsed < 0)
		return -parsed;
	return arrive_first(skb, p, config, known, node);
}

/* An error about a packet of ours that has left. Nobody on the wire speaks in a pod's name. */
__rare int arrive_error(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	enum range_owner owner;
	__u32 node;

	if (!p || !config || !(config->flags & (CONFIG_TRANSLATED | CONFIG_SERVICES)))
		return CONTINUE;
	owner = ipcache__range(&p->key.saddr, config->own_node, &node);
	if (owner == RANGE_OWN || (owner == RANGE_OTHER && !(config->flags & CONFIG_NATIVE)))
		return DROP_NATIVE_SOURCE;
	return translated__arrive_error(skb, p, config);
}

/* CONTINUE: no service is asked for. */
static __always_inline int ask(struct __sk_buff *skb, struct packet *p, const struct config *config)
{
	int outcome = service_outside__begin(skb, p, config);

	if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
		outcome = service_outside__begin(skb, p, config);
	if (outcome == SERVICE_NONE)
		return CONTINUE;
	if (outcome != CONTINUE)
		return outcome;
	if (unlikely(p->flags & PACKET_FRAGMENT_FIRST))
		fragment__resolve(p);
	outcome = service_flow__send_found(skb, p, config, false);
	return outcome == SERVICE_ENDED ? DROP_NO_NODE : outcome;
}

static __always_inline int from_uplink(struct __sk_buff *skb)
{
	const struct config *config = config__get();
	struct flow *flow = NULL;
	struct packet p = {};
	enum range_owner owner;
	int parsed, outcome;
	bool is_for_us;
	__u32 node;

	if (unlikely(!config))
		return PASS_FOREIGN;	/* there are no pods yet, and the node must be reachable */
	parsed = parse(skb, &p);
	if (unlikely(parsed == PARSED_ARP || parsed == -DROP_NOT_IP))
		return PASS_FOREIGN;
	if (likely(config->overlay_ifindex)) {
		if (likely(is_tunnel(&p, config)))
			return PASS_TUNNEL;
	} else if (unlikely(!(config->flags & CONFIG_NATIVE))) {
		outcome = kernel_tunnel(skb, &p, config, parsed);
		if (outcome != CONTINUE)
			return outcome;
	}

	/* What the kernel would not forward, nobody here is asked by: frames for all, or for others. */
	is_for_us = skb->pkt_type == PACKET_HOST;
	if (likely(is_for_us) && parsed == PARSED_IP &&
	    config->flags & (CONFIG_NATIVE | CONFIG_TRANSLATED | CONFIG_SERVICES)) {
		if (unlikely(p.flags & PACKET_ICMP_ERROR)) {
			outcome = arrive_error(skb, &p, config);
			if (outcome != CONTINUE)
				return outcome;
		}
		if (unlikely(p.flags & PACKET_FRAGMENT_LATER))
			fragment__resolve(&p);
		if (likely(!(p.flags & (PACKET_ICMP_ERROR | PACKET_NEIGHBOUR |
					PACKET_PORTS_UNKNOWN))))
			flow = flow__find(&p.key);
		if (flow && flow->flags & FLOW_TRANSLATED) {
			outcome = translated__arrive(skb, &p, config, flow);
			if (outcome != CONTINUE)
				return outcome;
			flow = NULL;
		}
		if (config->flags & CONFIG_SERVICES && !flow && service_outside__is_asking(&p, config)) {
			outcome = ask(skb, &p, config);
			if (outcome != CONTINUE)
				return outcome;
		}
	}
	if (config->flags & CONFIG_NATIVE && likely(is_for_us))
		return native(skb, &p, config, parsed, flow);

	owner = ipcache__range(&p.key.saddr, config->own_node, &node);
	if (owner == RANGE_OWN || (owner == RANGE_OTHER && !(config->flags & CONFIG_NATIVE)))
		return DROP_NATIVE_SOURCE;
	if (config->flags & CONFIG_NATIVE)
		return PASS_FOREIGN;
	owner = ipcache__range(&p.key.daddr, config->own_node, &node);
	if (owner == RANGE_OWN || owner == RANGE_OTHER)
		return DROP_NATIVE_TARGET;
	if (unlikely(owner == RANGE_SERVICES) && config->flags & CONFIG_SERVICES && is_for_us)
		return service_outside__miss(skb, &p);
	return PASS_FOREIGN;
}

SEC("tc")
int sb_from_uplink(struct __sk_buff *skb)
{
	return finish(skb, PLACE_FROM_UPLINK, from_uplink(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
