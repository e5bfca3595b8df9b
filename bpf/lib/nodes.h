/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The other nodes: how to reach one, and which one an address is of. */
#pragma once

#include "bpf.h"

/* Answers: where does a tunnel to this node go? Written by the agent; a row without NODE_VALID is
 * as good as none. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NODES_MAX);
	__type(key, __u32);
	__type(value, struct node);
} sb_nodes SEC(".maps");

/* Answers: which node has this address? All InternalIPs of all other nodes. Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4 * NODES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr);
	__type(value, __u32);
} sb_node_ids SEC(".maps");

/* NULL if there is no usable node of that id. */
static __always_inline const struct node *node__find(__u32 id)
{
	const struct node *node;

	if (!id)
		return NULL;
	node = bpf_map_lookup_elem(&sb_nodes, &id);
	if (!node || !(node->flags & NODE_VALID))
		return NULL;
	return node;
}

/* 0 if no other node has the address. */
static __always_inline __u32 node__id_of(const struct addr *addr)
{
	struct addr key = *addr;	/* Linux 6.1 takes no argument of a global function as key */
	const __u32 *id = bpf_map_lookup_elem(&sb_node_ids, &key);

	return id ? *id : 0;
}
