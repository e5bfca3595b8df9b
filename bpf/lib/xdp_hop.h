/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The next hop of a frame, by the kernel's routes and neighbours. To ask them takes three times as long as all
 * else that XDP does with a frame, so an answer holds until the next tick (clock.h) or generation, as the ways of
 * flows out of the cluster do.
 */
#pragma once

#include "clock.h"
#include "flows.h"
#include "outside.h"

struct xdp_hop {
	struct addr source;
	struct addr target;
	__u32 ifindex;			/* it came by this device, and leaves by it */
	__u32 tos;
	__u32 mtu;			/* of the route */
	__u32 asked;			/* in ticks */
	__u32 generation;
	__u8 macs[2 * ETH_ALEN];	/* destination and source, as they stand in a frame */
};

#define XDP_HOPS 1024

/* Answers: who is next on the way there? Written by the program; a later asker takes the row. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, XDP_HOPS);
	__type(key, __u32);
	__type(value, struct xdp_hop);
} sb_xdp_hops SEC(".maps");

/* True with the row filled in, but for its generation. */
__rare int xdp_hop__ask(struct xdp_md *ctx, struct xdp_hop *hop, const struct addr *source,
			const struct addr *target, __u32 tos)
{
	struct bpf_fib_lookup fib = {};

	if (!hop || !source || !target)
		return false;
	fib.ifindex = ctx->ingress_ifindex;
	fib.tot_len = 1;		/* of the answer: the route's MTU */
	outside__ask(&fib, source, target);
	if (addr__is_ipv4(target))
		fib.tos = tos;
	if (bpf_fib_lookup(ctx, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS ||
	    fib.ifindex != ctx->ingress_ifindex || fib.mtu_result <= 1)
		return false;
	hop->source = *source;
	hop->target = *target;
	hop->ifindex = fib.ifindex;
	hop->tos = tos;
	hop->mtu = fib.mtu_result;
	hop->asked = clock__now();
	__builtin_memcpy(hop->macs, fib.dmac, ETH_ALEN);
	__builtin_memcpy(hop->macs + ETH_ALEN, fib.smac, ETH_ALEN);
	return true;
}

/* NULL: by another device, nobody known, too long for the route, or a frame that was not for this node. */
static __always_inline const struct xdp_hop *xdp_hop__find(struct xdp_md *ctx, const struct config *config,
							   const struct addr *source,
							   const struct addr *target, __u32 tos,
							   __u32 bytes)
{
	__u32 generation = READ_ONCE(config->generation);
	__u32 index = (target->w[3] ^ source->w[3] ^ target->w[1]) * 0x9e3779b1 >> 22;
	const struct ethhdr *eth = (void *)(long)ctx->data;
	struct xdp_hop *hop = bpf_map_lookup_elem(&sb_xdp_hops, &index);

	if (!hop)
		return NULL;
	if (unlikely(hop->asked != clock__now() || hop->generation != generation ||
		     hop->ifindex != ctx->ingress_ifindex || hop->tos != tos ||
		     !addr__equal(&hop->target, target) || !addr__equal(&hop->source, source))) {
		if (!xdp_hop__ask(ctx, hop, source, target, tos))
			return NULL;
		hop->generation = generation;
	}
	return bytes <= hop->mtu && (void *)(eth + 1) <= (void *)(long)ctx->data_end &&
			       mac__equal(hop->macs + ETH_ALEN, eth->h_dest) ? hop : NULL;
}
