/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplink, tc egress: what another program of ours has finished passes, and what one has left to the stack to cut up
 * gets its address here. A backend in the node's own network answers in its service's name. A connection of the node itself whose port a pod's or a service's flow has
 * towards the same remote leaves under another one, as the answers could not be told apart.
 */
#include "bpf.h"
#include "flows.h"
#include "fragments.h"
#include "outside.h"
#include "outside_error.h"
#include "translate.h"

static __always_inline int leave(struct __sk_buff *skb, const struct packet *p,
				 const struct config *config, const struct flow *flow)
{
	int outcome = rewrite__source(skb, p, config, &flow->to);

	if (outcome != CONTINUE)
		return outcome;
	if (flow->flags & FLOW_SERVICE)
		return PASS_SERVICE;
	return flow->source_incarnation ? PASS_OUT : PASS_TRANSLATED;
}

/* A first packet of the node's own, or any of UDP. */
__rare int leave_first(struct __sk_buff *skb, const struct packet *p, const struct config *config)
{
	struct way_out out = {};
	struct flow_key key = {};
	const struct flow *flow;
	int outcome;

	if (!p || !config)
		return PASS_FOREIGN;
	flow_key__reverse(&key, &p->key);
	flow = flow__find(&key);
	if (likely(!flow || !(flow->flags & FLOW_TRANSLATED) ||
		   !(flow->target_incarnation || flow->flags & FLOW_SERVICE)))
		return PASS_FOREIGN;
	/* A pod's packet to that service, whose answers these are. */
	if (endpoint__is_pod(endpoint__find(&p->key.saddr)))
		return PASS_FOREIGN;
	if (flow__is_over(flow)) {	/* of TCP only: the pod is done with the port */
		flow__end_pair(&key);
		return PASS_FOREIGN;
	}
	out.source = p->key.saddr;
	outcome = translate__begin(skb, p, config, &out, 0);
	if (flow__lacks_room(outcome) && flows__reclaim())
		outcome = translate__begin(skb, p, config, &out, 0);
	if (outcome != CONTINUE)
		return outcome;
	key = p->key;
	flow = flow__find(&key);
	return flow && flow->flags & FLOW_TRANSLATED ? leave(skb, p, config, flow) : PASS_FOREIGN;
}

/* Sockets and rules put a backend in the place of a service before a packet gets here: nobody has that one. */
__rare int is_to_nobody(const struct packet *p, const struct config *config)
{
	return p && config && config->flags & CONFIG_SERVICES && ipcache__is_service(&p->key.daddr);
}

static __always_inline int to_uplink(struct __sk_buff *skb)
{
	const struct config *config;
	struct packet p = {};
	bool is_pods = skb->mark & SB_TO_TRANSLATE;
	struct flow *flow;
	int outcome;

	if (skb->mark & SB_DONE) {
		skb->mark &= ~SB_DONE;
		return PASS_DONE;
	}
	if (unlikely(is_pods))
		skb->mark &= ~SB_TO_TRANSLATE;
	config = config__get();
	if (unlikely(!config) || !(config->flags & (CONFIG_TRANSLATED | CONFIG_SERVICES)))
		return PASS_FOREIGN;
	if (unlikely(parse(skb, &p) != PARSED_IP))
		return PASS_FOREIGN;
	if (p.key.proto == IPPROTO_UDP && p.key.dport == config->tunnel_port && config->tunnel_port &&
	    config__has_vxlan(config))
		return PASS_TUNNEL;
	if (unlikely(p.flags & PACKET_NEIGHBOUR))
		return PASS_FOREIGN;
	/* Of the node's own no more than the port changes, which later fragments do not have. */
	if (unlikely(p.flags & PACKET_FRAGMENT_LATER)) {
		fragment__resolve(&p);
		if (p.flags & PACKET_PORTS_UNKNOWN)
			return is_pods ? DROP_FRAGMENT_ORDER : PASS_FOREIGN;
	}
	if (unlikely(p.flags & PACKET_ICMP_ERROR))
		return outside__pass_error(skb, &p);
	/* What the node is asked it answers under the id that it was asked with. */
	if (p.key.icmp_class && !is_echo_request(p.key.proto, p.icmp_type))
		return PASS_FOREIGN;
	flow = flow__find(&p.key);
	/* What a pod sends to a service is rewritten before the stack, and looks like what it would send past it. */
	if (unlikely(flow && flow->source_incarnation &&
		     (flow->flags & (FLOW_SERVICE | FLOW_OPENER)) == (FLOW_SERVICE | FLOW_OPENER)))
		return PASS_FOREIGN;
	if (unlikely(flow && flow->flags & FLOW_TRANSLATED)) {
		if (!flow__is_reopened(flow, p.tcp_flags)) {
			if (unlikely(p.flags & PACKET_FRAGMENT_FIRST))
				fragment__resolve(&p);
			outcome = is_pods ? CONTINUE : flow__touch(flow, &p);
			return outcome == CONTINUE ? leave(skb, &p, config, flow) : outcome;
		}
		flow__end_pair(&p.key);
	}
	if (unlikely(is_pods))	/* its flow has ended on the way here, and nobody else would translate it */
		return DROP_TRANSLATION_TAKEN;
	if (!outside__is_first(&p) || p.flags & PACKET_FRAGMENT_LATER)
		return PASS_FOREIGN;
	return is_to_nobody(&p, config) ? DROP_SERVICE_ADDRESS : leave_first(skb, &p, config);
}

SEC("tc")
int sb_to_uplink(struct __sk_buff *skb)
{
	return finish(skb, PLACE_TO_UPLINK, to_uplink(skb));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
