/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* VXLAN towards and from other nodes, by the metadata of one collect-metadata device. */
#pragma once

#include "config.h"
#include "hop.h"
#include "nodes.h"
#include "verdict.h"

#define TUNNEL_TTL 64

/* Besides CONTINUE and outcomes: it is for a service (dsr_arrive.h). */
#define OVERLAY_DSR (-4)

/* Outer header for a node. The device carries the inner packet's ECN into it, and back out on the other side. */
static __always_inline int overlay__encapsulate(struct __sk_buff *skb, const struct packet *p,
						const struct config *config, const struct node *node,
						__u32 vni)
{
	struct bpf_tunnel_key key = {};
	__u64 flags;

	key.tunnel_id = vni;
	key.tunnel_ttl = TUNNEL_TTL;
	key.tunnel_tos = p->tos;
	if (addr__is_ipv4(&node->tunnel)) {
		key.remote_ipv4 = bpf_ntohl(node->tunnel.w[3]);
		key.local_ipv4 = bpf_ntohl(config->tunnel_local4.w[3]);
		flags = BPF_F_ZERO_CSUM_TX;	/* RFC 7348 §5; not allowed over IPv6 by default */
	} else {
		__builtin_memcpy(key.remote_ipv6, &node->tunnel, sizeof(struct addr));
		__builtin_memcpy(key.local_ipv6, &config->tunnel_local6, sizeof(struct addr));
		flags = BPF_F_TUNINFO_IPV6;
	}
	if (unlikely(bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags)))
		return DROP_NO_TUNNEL_KEY;
	return CONTINUE;
}

/* Outer header and inner MACs for a node: both tunnel modes look the same on the wire. */
static __always_inline int overlay__address(struct __sk_buff *skb, const struct packet *p,
					    const struct config *config, const struct node *node)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;

	if (unlikely(data + ETH_HLEN > end))
		return DROP_TRUNCATED;
	*(struct mac_one *)data = *(const struct mac_one *)node->mac;
	*(struct mac_one *)(data + ETH_ALEN) = *(const struct mac_one *)config->overlay_mac;
	return overlay__encapsulate(skb, p, config, node, config->vni);
}

static __always_inline int overlay__redirect(struct __sk_buff *skb, const struct config *config)
{
	skb->mark |= SB_DONE;		/* sb_to_overlay runs next, and has nothing left to do */
	redirect__note(skb, REDIRECT_DEVICE, config->overlay_ifindex);
	bpf_redirect(config->overlay_ifindex, 0);
	return PASS_NODE;
}

/* The short way to another node, whatever the length. PASS_NODE, or what else became of it. */
static __always_inline int overlay__go(struct __sk_buff *skb, const struct packet *p,
				       const struct config *config, const struct node *node)
{
	int outcome;

	if (unlikely(!config->overlay_ifindex))	/* a redirect to nowhere would drop without a word */
		return DROP_NO_NODE;
	outcome = hop__count(skb, p);
	if (outcome != CONTINUE)
		return outcome;
	if (!hop__add_ethernet(skb))
		return DROP_TRUNCATED;
	outcome = overlay__address(skb, p, config, node);
	return outcome == CONTINUE ? overlay__redirect(skb, config) : outcome;
}

/* The same for what fits. */
static __always_inline int overlay__send(struct __sk_buff *skb, const struct packet *p,
					 const struct config *config, const struct node *node)
{
	int outcome = hop__check(skb, p, node->mtu);

	return outcome == CONTINUE ? overlay__go(skb, p, config, node) : outcome;
}

/* The outer source of a packet that came out of our tunnel. CONTINUE, OVERLAY_DSR or a drop. */
static __always_inline int overlay__outer(struct __sk_buff *skb, const struct config *config,
					  struct addr *outer)
{
	bool is_ipv6 = config->flags & CONFIG_TUNNEL_IPV6;
	struct bpf_tunnel_key key;

	/* The kernel refuses a key of the other family than it is asked for. */
	if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key), is_ipv6 ? BPF_F_TUNINFO_IPV6 : 0)) {
		is_ipv6 = !is_ipv6;
		if (bpf_skb_get_tunnel_key(skb, &key, sizeof(key),
					   is_ipv6 ? BPF_F_TUNINFO_IPV6 : 0))
			return DROP_NO_TUNNEL_KEY;
	}
	if (is_ipv6)
		__builtin_memcpy(outer, key.remote_ipv6, sizeof(*outer));
	else
		addr__from_ipv4(outer, bpf_htonl(key.remote_ipv4));
	if (likely(key.tunnel_id == config->vni))
		return config->flags & CONFIG_NATIVE ? DROP_WRONG_VNI : CONTINUE;
	return key.tunnel_id == (config->vni ^ DSR_VNI) ? OVERLAY_DSR : DROP_WRONG_VNI;
}

/* The node that has the address, 0 if none. `likely_node` is looked at first: its tunnel address is
 * the one to expect, and an array costs a tenth of a hash. */
static __always_inline __u32 overlay__sender(const struct addr *outer, __u32 likely_node)
{
	const struct node *node = node__find(likely_node);

	if (likely(node && addr__equal(&node->tunnel, outer)))
		return likely_node;
	return node__id_of(outer);
}
