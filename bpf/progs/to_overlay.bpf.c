/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Overlay device, tc egress: gives what the kernel's stack sends to other nodes its tunnel key, and
 * puts its flow on the stack way. */
#include "bpf.h"
#include "flows.h"
#include "fragments.h"
#include "overlay.h"
#include "translate.h"

/* The node of a destination, chosen anew; the flow, if the packet is of one, is on the stack way. */
__rare int choose(const struct packet *p, const struct config *config,
			     bool is_known, bool is_flow, __u32 *node)
{
	struct opening o = {};
	__u32 generation;
	int outcome;

	if (!p || !config || !node)
		return DROP_NOT_READY;
	generation = READ_ONCE(config->generation);
	*node = ipcache__remote_node(&p->key.daddr, config->own_node);
	if (!*node)
		*node = node__id_of(&p->key.daddr);
	if (!*node)
		return DROP_NO_NODE;
	if (!is_flow)
		return CONTINUE;
	o.way = way__make(WAY_STACK, *node, generation);
	o.way_back = way__make(WAY_STACK, 0, generation);
	o.source_incarnation = endpoint__incarnation(endpoint__find(&p->key.saddr));
	o.target_node = *node;
	o.is_known = is_known;
	outcome = flow__open(p, &o);
	/* A pod's packet to a service, for which the short way was too narrow: its rows have other keys. */
	return outcome == DROP_TRANSLATION_TAKEN && o.source_incarnation ? CONTINUE : outcome;
}

/* The answers of a first packet of the node's own are those of a flow to a service: this one, which is the later,
 * leaves from another port (ADR 0077). CONTINUE with its rows written. */
static __always_inline int step_aside(struct __sk_buff *skb, const struct packet *p,
				      const struct config *config, __u32 node)
{
	struct way_out out = { .ifindex = node, .source = p->key.saddr };
	struct pair *pair = pair__get();
	int outcome;

	if (packet__is_midstream(p))
		return DROP_TRANSLATION_TAKEN;
	outcome = pair__start(p, config, &out, 0);
	if (outcome != CONTINUE || !pair)
		return outcome;
	pair->back_row.source_node = node;
	outcome = port__reserve(skb, config);
	return outcome == CONTINUE ? pair__finish() : outcome;
}

/* A connection of the node's own that has stepped aside: from the port that its answers come to. */
__rare int lend_port(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	struct flow_key key;
	const struct flow *flow;

	if (!p || !config)
		return DROP_NOT_READY;
	key = p->key;
	flow = flow__find(&key);
	return flow && flow->flags & FLOW_TRANSLATED ? rewrite__source(skb, p, config, &flow->to) : CONTINUE;
}

static __always_inline int to_overlay(struct __sk_buff *skb)
{
	const struct config *config;
	const struct node *node;
	struct flow *flow = NULL;
	struct packet p = {};
	bool is_flow = true, is_aside = false;
	int outcome;
	__u32 id = 0;
	__u64 way;

	if (likely(skb->mark & SB_DONE)) {
		skb->mark &= ~SB_DONE;
		return PASS_DONE;
	}
	config = config__get();
	if (unlikely(!config))
		return DROP_NOT_READY;

	outcome = parse(skb, &p);
	if (unlikely(outcome == PARSED_ARP))
		return DROP_OVERLAY_MULTICAST;
	if (unlikely(outcome < 0))
		return -outcome;
	if (unlikely(p.flags & PACKET_RARE)) {
		if (p.flags & PACKET_NEIGHBOUR)
			return DROP_OVERLAY_MULTICAST;
		if (p.flags & PACKET_ICMP_ERROR)
			is_flow = false;
		else
			fragment__resolve(&p);
		if (p.flags & PACKET_PORTS_UNKNOWN)
			is_flow = false;
	}
	if (addr__is_untracked(&p.key.daddr))
		return DROP_OVERLAY_MULTICAST;
	if (addr__is_link_local(&p.key.saddr))
		return DROP_LINK_LOCAL;
	if (unlikely(config->flags & CONFIG_NATIVE))	/* the device is for direct return, which has passed */
		return DROP_NO_NODE;

	/* A reset in the name of a pod that is gone is the stack's: its flow is over. */
	if (unlikely(p.tcp_flags & TCP_RST) && !endpoint__find(&p.key.saddr))
		is_flow = false;
	if (likely(is_flow))
		flow = flow__find(&p.key);
	if (flow && !flow__is_reopened(flow, p.tcp_flags)) {
		way = READ_ONCE(flow->way);
		outcome = flow__touch(flow, &p);
		if (unlikely(flow->flags & FLOW_TRANSLATED)) {
			if (outcome != CONTINUE)
				return outcome;
			/* A pod's to a service is rewritten by now, and looks like one that has stepped aside. */
			is_aside = !(flow->flags & FLOW_SERVICE);
			is_flow = false;
		}
	} else {
		flow = NULL;
		way = 0;
	}
	if (likely(way__kind(way) == WAY_STACK && way__node(way) &&
		   way__generation(way) == READ_ONCE(config->generation))) {
		id = way__node(way);
	} else {
		outcome = choose(&p, config, flow, is_flow, &id);
		if (unlikely(flow__lacks_room(outcome)) && flows__reclaim())
			outcome = choose(&p, config, flow, is_flow, &id);
		if (unlikely(outcome == DROP_TRANSLATION_TAKEN)) {
			outcome = step_aside(skb, &p, config, id);
			is_aside = true;
		}
		if (outcome != CONTINUE)
			return outcome;
	}
	if (unlikely(is_aside)) {
		outcome = lend_port(skb, &p, config);
		if (outcome != CONTINUE)
			return outcome;
	}
	node = node__find(id);
	if (!node)
		return DROP_NO_NODE;
	outcome = overlay__address(skb, &p, config, node);
	return outcome == CONTINUE ? PASS_NODE : outcome;
}

SEC("tc")
int sb_to_overlay(struct __sk_buff *skb)
{
	return finish(skb, PLACE_TO_OVERLAY, to_overlay(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
