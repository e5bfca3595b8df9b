/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Uplink, XDP: goes on with connections of clients outside to services whose backend is on another node, both ways,
 * before the kernel makes a packet of the frame. sb_from_uplink has judged their first packets, and judges all that
 * changes what a row says, or is in any way unusual: that is passed on as it came (ADR 0092).
 *
 * It sends only out of the device that the frame came by.
 */
#include "bpf.h"
#include "flows.h"
#include "nodes.h"
#include "xdp_hop.h"
#include "xdp_parse.h"
#include "xdp_rewrite.h"
#include "xdp_tunnel.h"

/* A packet in the middle of a connection, whose row holds and needs no more than to hear that it lives. */
static __always_inline bool is_settled(const struct flow *flow, const struct packet *p, __u64 way,
				       const struct config *config)
{
	const __u32 is = FLOW_TRANSLATED | FLOW_SERVICE | FLOW_SEEN;

	return (flow->flags & (is | FLOW_RST)) == is && !flow->source_incarnation &&
	       !(p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)) &&
	       way__generation(way) == READ_ONCE(config->generation) && p->ttl > 1;
}

/* To the backend's node by the tunnel: PASS_NODE, or CONTINUE with nothing done. */
static __always_inline int send_tunnelled(struct xdp_md *ctx, const struct packet *p,
					  const struct config *config, struct flow *flow,
					  const struct node *node)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	__u32 bytes = end - data;
	const struct xdp_hop *hop;
	__sum16 *check;

	if (!config__has_tunnel(config) || !addr__is_ipv4(&node->tunnel) ||
	    !addr__is_ipv4(&config->tunnel_local4))
		return CONTINUE;
	hop = xdp_hop__find(ctx, config, &config->tunnel_local4, &node->tunnel, p->tos & ~ECN_MASK,
			    bytes + XDP_TUNNEL_BYTES - ETH_HLEN);
	if (!hop || flow__touch(flow, p) != CONTINUE || bpf_xdp_adjust_head(ctx, -(int)XDP_TUNNEL_BYTES))
		return CONTINUE;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + XDP_TUNNEL_BYTES + ETH_HLEN > end)
		return DROP_TRUNCATED;
	check = xdp_rewrite(data + XDP_TUNNEL_BYTES + ETH_HLEN, end, p, &flow->to);
	if (!check || !xdp_tunnel__close(data, end, p, config, node, &flow->to, bytes, *check))
		return DROP_TRUNCATED;
	*(struct mac_pair *)data = *(const struct mac_pair *)hop->macs;
	return PASS_NODE;
}

/* As it is, or as it came out of the tunnel. `outcome` if it went. */
static __always_inline int send_plain(struct xdp_md *ctx, const struct packet *p,
				      const struct config *config, struct flow *flow, bool is_tunnelled,
				      int outcome)
{
	const struct xdp_hop *hop = xdp_hop__find(ctx, config, &flow->to.saddr, &flow->to.daddr,
						  p->tos & ~ECN_MASK, packet__l3_len(p));
	void *data, *end;

	if (!hop || flow__touch(flow, p) != CONTINUE ||
	    (is_tunnelled && bpf_xdp_adjust_head(ctx, XDP_TUNNEL_BYTES)))
		return CONTINUE;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + ETH_HLEN > end || !xdp_rewrite(data + ETH_HLEN, end, p, &flow->to))
		return DROP_TRUNCATED;
	*(struct mac_pair *)data = *(const struct mac_pair *)hop->macs;
	return outcome;
}

/* A client's packet, to the backend's node; or an answer, to the client. */
static __always_inline int go_on(struct xdp_md *ctx, const struct packet *p, const struct config *config,
				 struct flow *flow)
{
	const struct node *node;
	__u64 way = READ_ONCE(flow->way);
	__u32 mtu;

	if (!is_settled(flow, p, way, config) || (flow->source_node && !(config->flags & CONFIG_NATIVE)))
		return CONTINUE;
	if (!(flow->flags & FLOW_OPENER)) {
		if (way__kind(way) != WAY_OUT || way__node(way) != ctx->ingress_ifindex ||
		    (flow->mtu && packet__l3_len(p) > flow->mtu))
			return CONTINUE;
		return send_plain(ctx, p, config, flow, false, PASS_OUT);
	}
	if (way__kind(way) != WAY_NODE && way__kind(way) != WAY_UPLINK)
		return CONTINUE;
	node = node__find(way__node(way));
	if (!node)
		return CONTINUE;
	mtu = node->mtu;
	if (mtu && packet__l3_len(p) > mtu)
		return CONTINUE;
	if (way__kind(way) == WAY_NODE)
		return send_tunnelled(ctx, p, config, flow, node);
	return send_plain(ctx, p, config, flow, false, PASS_UPLINK);
}

/* An answer by the tunnel, from the backend's node. */
static __always_inline int answer(struct xdp_md *ctx, const struct packet *p, const struct addr *outer,
				  const struct config *config, struct flow *flow)
{
	const struct node *from = node__find(flow->source_node);
	__u64 way = READ_ONCE(flow->way);

	if (!from || !addr__equal(&from->tunnel, outer) || !is_settled(flow, p, way, config) ||
	    flow->flags & FLOW_OPENER || way__kind(way) != WAY_OUT ||
	    way__node(way) != ctx->ingress_ifindex || (flow->mtu && packet__l3_len(p) > flow->mtu))
		return CONTINUE;
	return send_plain(ctx, p, config, flow, true, PASS_OUT);
}

/* What became of the frame; CONTINUE: sb_from_uplink gets it, as it came. */
static __always_inline int xdp_uplink(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;
	const struct config *config = config__get();
	struct packet p = {};
	struct flow *flow;

	if (!config || !(config->flags & CONFIG_SERVICES) || !xdp_parse(data, end, &p))
		return CONTINUE;
	if (xdp_tunnel__is(&p, config)) {
		struct addr outer = p.key.saddr;

		if (!xdp_tunnel__open(data, end, config, &p) ||
		    !xdp_rewrite__is_summed(&p, data + XDP_TUNNEL_BYTES + ETH_HLEN, end))
			return CONTINUE;
		flow = flow__find(&p.key);
		return flow ? answer(ctx, &p, &outer, config, flow) : CONTINUE;
	}
	flow = flow__find(&p.key);
	if (!flow || !xdp_rewrite__is_summed(&p, data + ETH_HLEN, end))
		return CONTINUE;
	return go_on(ctx, &p, config, flow);
}

/* Counts the outcome, and says what the driver shall do. */
static __always_inline int xdp_verdict(struct xdp_md *ctx)
{
	__u32 bytes = ctx->data_end - ctx->data, index = PLACE_XDP_UPLINK * OUTCOMES_MAX;
	int outcome = xdp_uplink(ctx);
	struct counter *counter;

	if (outcome == CONTINUE)	/* counted where it goes */
		return XDP_PASS;
	index += outcome;
	counter = bpf_map_lookup_elem(&sb_counters, &index);
	if (likely(counter)) {
		counter->packets++;
		counter->bytes += bytes;
	}
	return outcome == DROP_TRUNCATED ? XDP_DROP : XDP_TX;
}

SEC("xdp")
int sb_xdp_uplink(struct xdp_md *ctx)
{
	return xdp_verdict(ctx);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
