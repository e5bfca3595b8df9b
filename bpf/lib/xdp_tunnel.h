/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * VXLAN over IPv4 in XDP frames, both ways, as the overlay device has it (overlay.h). Over IPv6 the outer UDP
 * checksum is to be right, over all of the packet: that is left to the device.
 */
#pragma once

#include "config.h"
#include "kernel_tunnel.h"
#include "overlay.h"
#include "xdp_parse.h"
#include "xdp_rewrite.h"

/* What is before the inner frame: Ethernet, IPv4, UDP, VXLAN. */
#define XDP_TUNNEL_BYTES                                                                          \
	(ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr) + sizeof(struct vxlan_header))

#define VXLAN_HAS_VNI 0x08000000

/* RFC 7348 §5: the source port spreads flows over the paths and receive queues on the way. */
#define TUNNEL_SOURCE_MIN 49152
#define TUNNEL_SOURCE_BITS 14

/* RFC 3168 §5. */
#define ECN_MASK 3
#define ECN_ECT_0 2
#define ECN_CE 3

static __always_inline bool xdp_tunnel__is(const struct packet *p, const struct config *config)
{
	return p->key.proto == IPPROTO_UDP && config->tunnel_port && p->key.dport == config->tunnel_port &&
	       config__has_vxlan(config);
}

/*
 * `p` is a packet of the tunnel, and what is in it afterwards. False: the device has to look at it. That is so
 * for a checksum, which nobody has verified, and for a mark of congestion, which is to be carried inwards.
 */
static __always_inline bool xdp_tunnel__open(void *data, const void *end, const struct config *config,
					     struct packet *p)
{
	struct udphdr *udp = data + ETH_HLEN + sizeof(struct iphdr);
	struct vxlan_header *vxlan = (void *)(udp + 1);
	struct ethhdr *inner = (void *)(vxlan + 1);
	__u32 room = p->l4_len - sizeof(*udp) - sizeof(*vxlan) - sizeof(*inner);

	if ((void *)(inner + 1) > end || p->flags & PACKET_IPV6 || !config__has_tunnel(config) ||
	    p->l4_len < sizeof(*udp) + sizeof(*vxlan) + sizeof(*inner) || bpf_ntohs(udp->len) != p->l4_len ||
	    !addr__equal(&p->key.daddr, &config->tunnel_local4))
		return false;
	if (udp->check || (p->tos & ECN_MASK) == ECN_CE ||
	    vxlan->flags != bpf_htonl(VXLAN_HAS_VNI) || vxlan->vni != bpf_htonl(config->vni << 8) ||
	    !mac__equal(inner->h_dest, config->overlay_mac))
		return false;
	__builtin_memset(p, 0, sizeof(*p));
	/* Bytes past the end of the outer packet are no part of it, though the frame may have them. */
	return xdp_parse(inner, end, p) && packet__l3_len(p) <= room;
}

static __always_inline __be16 xdp_tunnel__source(const struct translation *to)
{
	__u32 hash = to->daddr.w[3] ^ ((__u32)to->sport << 16 | to->dport);

	hash *= 0x9e3779b1;		/* Knuth, volume 3, 6.4 */
	return bpf_htons(TUNNEL_SOURCE_MIN + (hash >> (32 - TUNNEL_SOURCE_BITS)));
}

/* RFC 6040 §4.1: what is congested inside is not so outside, but can become it again. */
static __always_inline __u8 xdp_tunnel__tos(__u8 tos)
{
	return (tos & ECN_MASK) == ECN_CE ? (tos & ~ECN_MASK) | ECN_ECT_0 : tos;
}

/*
 * Before a frame of `bytes` whose inner Ethernet header is written, too. Routers may cut it up, as they may what
 * the device sends: `id` tells the pieces apart.
 */
static __always_inline bool xdp_tunnel__close(void *data, const void *end, const struct packet *p,
					      const struct config *config, const struct node *node,
					      const struct translation *to, __u32 bytes, __be16 id)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	struct vxlan_header *vxlan = (void *)(udp + 1);
	void *inner = vxlan + 1;
	const __u32 *words = (void *)ip;

	if (inner + ETH_HLEN > end)
		return false;
	((struct ethhdr *)data)->h_proto = bpf_htons(ETH_P_IP);
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tos = xdp_tunnel__tos(p->tos);
	ip->tot_len = bpf_htons(bytes + XDP_TUNNEL_BYTES - ETH_HLEN);
	ip->id = id;
	ip->frag_off = 0;
	ip->ttl = TUNNEL_TTL;
	ip->protocol = IPPROTO_UDP;
	ip->check = 0;
	ip->saddr = config->tunnel_local4.w[3];
	ip->daddr = node->tunnel.w[3];
	ip->check = ~sum__fold16((__u64)words[0] + words[1] + words[2] + words[3] + words[4]);
	udp->source = xdp_tunnel__source(to);
	udp->dest = config->tunnel_port;
	udp->len = bpf_htons(bytes + sizeof(*udp) + sizeof(*vxlan));
	udp->check = 0;			/* RFC 7348 §5 */
	vxlan->flags = bpf_htonl(VXLAN_HAS_VNI);
	vxlan->vni = bpf_htonl(config->vni << 8);
	*(struct mac_one *)inner = *(const struct mac_one *)node->mac;
	*(struct mac_one *)(inner + ETH_ALEN) = *(const struct mac_one *)config->overlay_mac;
	return true;
}
