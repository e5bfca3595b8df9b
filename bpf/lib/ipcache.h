/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Whom an address of the cluster belongs to. Asked on the first packet of a flow only. */
#pragma once

#include "bpf.h"
#include "nodes.h"

/* Answers: which node has the range this address is in? Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4 * NODES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct prefix_key);
	__type(value, struct ipcache_entry);
} sb_ipcache SEC(".maps");

/* The node to send to for an address: 0 for this node's own range and for what is on no node. */
static __always_inline __u32 ipcache__remote_node(const struct addr *addr, __u32 own_node)
{
	struct prefix_key key = { .prefix_len = 128, .addr = *addr };
	const struct ipcache_entry *entry = bpf_map_lookup_elem(&sb_ipcache, &key);

	if (!entry || entry->node == own_node)
		return 0;
	return entry->node;
}

/* In nobody's range, and of no destination that the agent wants left to the kernel or that is a service's. */
static __always_inline bool ipcache__is_outside(const struct addr *addr)
{
	struct prefix_key key = { .prefix_len = 128, .addr = *addr };
	const struct ipcache_entry *entry = bpf_map_lookup_elem(&sb_ipcache, &key);

	return !entry || !(entry->node || entry->flags & (IPCACHE_OWN_RANGE | IPCACHE_STACK |
							  IPCACHE_SERVICES));
}

/* In a range of service addresses. */
static __always_inline bool ipcache__is_service(const struct addr *addr)
{
	struct prefix_key key = { .prefix_len = 128, .addr = *addr };
	const struct ipcache_entry *entry = bpf_map_lookup_elem(&sb_ipcache, &key);

	return entry && entry->flags & IPCACHE_SERVICES;
}

/* In whose pod range an address is, asked of both ends of what comes by an uplink. */
enum range_owner {
	RANGE_NONE = 0,
	RANGE_OWN = 1,
	RANGE_OTHER = 2,
	RANGE_SERVICES = 3,		/* of services: no pod's */
};

/* *node is the other node's id, or 0. */
static __always_inline enum range_owner ipcache__range(const struct addr *addr, __u32 own_node,
						       __u32 *node)
{
	struct prefix_key key = { .prefix_len = 128, .addr = *addr };
	const struct ipcache_entry *entry = bpf_map_lookup_elem(&sb_ipcache, &key);

	*node = 0;
	if (!entry)
		return RANGE_NONE;
	if (entry->flags & IPCACHE_OWN_RANGE || (entry->node && entry->node == own_node))
		return RANGE_OWN;
	*node = entry->node;
	if (entry->node)
		return RANGE_OTHER;
	return entry->flags & IPCACHE_SERVICES ? RANGE_SERVICES : RANGE_NONE;
}

/* May this node send with that inner source? Its ranges, and its own InternalIPs. */
static __always_inline bool ipcache__is_source_of(const struct addr *addr, __u32 node)
{
	struct prefix_key key = { .prefix_len = 128, .addr = *addr };
	const struct ipcache_entry *entry = bpf_map_lookup_elem(&sb_ipcache, &key);

	if (entry && entry->node)
		return entry->node == node;
	return node__id_of(addr) == node;
}
