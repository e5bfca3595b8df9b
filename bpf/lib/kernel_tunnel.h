/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the kernel's own VXLAN device would believe: judged on the uplink, before it is unpacked. */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "ipcache.h"
#include "parse.h"

/* RFC 7348 §5. */
struct vxlan_header {
	__be32 flags;
	__be32 vni;			/* in the upper 24 bits */
};

/* From the VXLAN header to the inner addresses, which options do not move. */
struct tunnelled {
	struct vxlan_header vxlan;
	__u8 macs[2 * ETH_ALEN];
	__be16 proto;
	union {
		struct {
			__u8 pad[12];
			__be32 saddr;
			__be32 daddr;
		} __attribute__((packed)) ipv4;
		struct {
			__u8 pad[8];
			struct addr saddr;
			struct addr daddr;
		} __attribute__((packed)) ipv6;
	};
} __attribute__((packed));

#define TUNNELLED_BYTES(family) \
	(offsetof(struct tunnelled, family) + sizeof(((struct tunnelled *)0)->family))

/* Bytes past the end of the IP packet are no part of it, though the frame may have them. */
static __always_inline bool tunnelled__load(struct __sk_buff *skb, const struct packet *p, void *to,
					    __u32 bytes)
{
	return p->l4_len >= sizeof(struct udphdr) + bytes &&
	       !bpf_skb_load_bytes(skb, p->l4 + sizeof(struct udphdr), to, bytes);
}

/* For the tunnel's port: a known node sent it, the inner source is that node's, and somebody here has
 * the inner destination. What sb_from_overlay asks where that device is ours. PASS_TUNNEL or a drop. */
__rare int kernel_tunnel__judge(struct __sk_buff *skb, const struct packet *p,
				const struct config *config)
{
	struct tunnelled inner = {};
	struct addr source, target;
	__u32 node;

	if (!p || !config)
		return DROP_NOT_READY;
	if (!tunnelled__load(skb, p, &inner, offsetof(struct tunnelled, ipv4)))
		return DROP_TRUNCATED;
	if (bpf_ntohl(inner.vxlan.vni) >> 8 != config->vni)
		return PASS_TUNNEL;	/* not for our device */
	node = node__id_of(&p->key.saddr);
	if (!node)
		return DROP_UNKNOWN_NODE;
	switch (inner.proto) {
	case bpf_htons(ETH_P_IP):
		if (!tunnelled__load(skb, p, &inner, TUNNELLED_BYTES(ipv4)))
			return DROP_TRUNCATED;
		addr__from_ipv4(&source, inner.ipv4.saddr);
		addr__from_ipv4(&target, inner.ipv4.daddr);
		break;
	case bpf_htons(ETH_P_IPV6):
		if (!tunnelled__load(skb, p, &inner, TUNNELLED_BYTES(ipv6)))
			return DROP_TRUNCATED;
		__builtin_memcpy(&source, &inner.ipv6.saddr, sizeof(source));
		__builtin_memcpy(&target, &inner.ipv6.daddr, sizeof(target));
		if (addr__is_ipv4(&source) || addr__is_ipv4(&target))
			return DROP_BAD_HEADER;	/* would pass for IPv4 below */
		break;
	case bpf_htons(ETH_P_ARP):
		return DROP_OVERLAY_MULTICAST;
	default:
		return DROP_NOT_IP;
	}
	if (!ipcache__is_source_of(&source, node))
		return DROP_FOREIGN_SOURCE;
	return endpoint__find(&target) ? PASS_TUNNEL : DROP_NO_ENDPOINT;
}
