/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Overlay device, tc egress: gives what the kernel's stack sends to other nodes its tunnel key, and
 * puts its flow on the stack way. */
#include "bpf.h"
#include "flows.h"
#include "fragments.h"
#include "overlay.h"

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

static __always_inline int to_overlay(struct __sk_buff *skb)
{
	const struct config *config;
	const struct node *node;
	struct flow *flow = NULL;
	struct packet p = {};
	bool is_flow = true;
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

	if (likely(is_flow))
		flow = flow__find(&p.key);
	if (flow && !flow__is_reopened(flow, p.tcp_flags)) {
		way = READ_ONCE(flow->way);
		flow__touch(flow, &p);
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
