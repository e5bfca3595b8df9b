/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the agent tells all programs at once: one row that can change while they run. */
#pragma once

#include "bpf.h"

/* Answers: who is this node, and which generation of the world holds? Written by the agent, whole
 * row at once; nothing leaves. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct config);
} sb_config SEC(".maps");

/* NULL until the agent has filled the maps. Take the generation from it before any lookup: the
 * agent writes maps before it bumps. */
static __always_inline const struct config *config__get(void)
{
	__u32 zero = 0;
	const struct config *config = bpf_map_lookup_elem(&sb_config, &zero);

	if (!config || !(config->flags & CONFIG_READY))
		return NULL;
	return config;
}

/* Pods' packets for other nodes go by our VXLAN device. Without a tunnel one may be there all the same, for direct
 * server return alone (dsr.h). */
static __always_inline bool config__has_tunnel(const struct config *config)
{
	return config->overlay_ifindex && !(config->flags & CONFIG_NATIVE);
}

/* A VXLAN device has the tunnel's port here: ours, the kernel's own, or one for direct server return. Others of the
 * cluster may have one where this node has none. */
static __always_inline bool config__has_vxlan(const struct config *config)
{
	return config->overlay_ifindex || !(config->flags & CONFIG_NATIVE);
}
