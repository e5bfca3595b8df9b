/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses that live on this node: its pods' and its own. */
#pragma once

#include "bpf.h"

/* Answers: is this address on this node, and behind which device? Written by the agent: a row comes
 * before the pod's device is up and goes when the pod goes. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct addr);
	__type(value, struct endpoint);
} sb_endpoints SEC(".maps");

/* Answers: is this an address of the node where services are asked for? Most are in no pod range, and not in
 * sb_endpoints. Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct addr);
	__type(value, __u32);
} sb_node_addrs SEC(".maps");

static __always_inline const struct endpoint *endpoint__find(const struct addr *addr)
{
	struct addr key = *addr;	/* Linux 6.1 takes no argument of a global function as key */

	return bpf_map_lookup_elem(&sb_endpoints, &key);
}

static __always_inline const __u32 *node_addr__find(const struct addr *addr)
{
	struct addr key = *addr;

	return bpf_map_lookup_elem(&sb_node_addrs, &key);
}

static __always_inline bool endpoint__is_pod(const struct endpoint *endpoint)
{
	return endpoint && endpoint->flags & ENDPOINT_LOCAL_POD;
}

/* The pod behind the device a packet came from or goes to owns this address. */
static __always_inline bool endpoint__is_behind(const struct endpoint *endpoint, __u32 ifindex)
{
	return endpoint__is_pod(endpoint) && endpoint->ifindex == ifindex;
}

/* 0 for whatever is no pod of this node. */
static __always_inline __u32 endpoint__incarnation(const struct endpoint *endpoint)
{
	return endpoint__is_pod(endpoint) ? endpoint->incarnation : 0;
}
