/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How much of the flow table each may have: whoever sends the first packet of a flow is its opener,
 * and is counted. One that has as many flows as are free opens no more (ADR 0015). Asked when a flow
 * is opened only; counts are made anew by every walk of the table.
 */
#pragma once

#include "config.h"
#include "flow_table.h"

/* Answers: how many flows has this opener open? Written by the programs, recounted by each walk. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct opener);
	__type(value, struct opener_flows);
} sb_openers SEC(".maps");

/* Answers: how many flows are open in all? Written by the programs, recounted by each walk. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct opened);
} sb_opened SEC(".maps");

/* The kernel's own struct, of which a program may read what is constant. */
struct bpf_map {
	__u32 max_entries;
} __attribute__((preserve_access_index));

static __always_inline __u32 openers__flows_max(void)
{
	return ((const struct bpf_map *)(const void *)&sb_flows)->max_entries / 2;
}

/* Whose flow that is, from what its row says of the first packet's source: none of it can be
 * forged by a pod. `flags` are the row's. False for the node itself, which is not limited. */
static __always_inline bool opener__of(struct opener *opener, const struct addr *source,
				       __u32 incarnation, __u32 node, __u32 flags)
{
	const struct config *config = config__get();
	const struct endpoint *endpoint;

	if (incarnation) {
		opener->kind = OPENER_POD;
		opener->incarnation = incarnation;
		return true;
	}
	if (node) {
		opener->kind = OPENER_REMOTE;
		opener->addr = *source;
		return true;
	}
	endpoint = endpoint__find(source);
	if ((endpoint && endpoint->flags & ENDPOINT_NODE_OWN) || node_addr__find(source))
		return false;
	if (config && (addr__equal(source, &config->tunnel_local4) ||
		       addr__equal(source, &config->tunnel_local6)))
		return false;
	opener->kind = flags & FLOW_SERVICE ? OPENER_CLIENT : OPENER_OUTSIDE;
	return true;
}

/* Makes the row if there is none. Without room for another, all that is left counts as outside. */
static __always_inline struct opener_flows *opener__row(struct opener *opener)
{
	struct opener_flows none = {}, *row = bpf_map_lookup_elem(&sb_openers, opener);

	if (row)
		return row;
	bpf_map_update_elem(&sb_openers, opener, &none, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&sb_openers, opener);
	if (row)
		return row;
	__builtin_memset(opener, 0, sizeof(*opener));
	opener->kind = OPENER_OUTSIDE;
	return bpf_map_lookup_elem(&sb_openers, opener);
}

static __always_inline struct opened *opened__get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sb_opened, &zero);
}

/* May whoever has that many flows have another one? */
static __always_inline bool opened__has_room_for(const struct opened *opened, __s32 flows)
{
	__s32 max = openers__flows_max(), all = READ_ONCE(opened->flows);

	return flows <= 0 || all < 0 || flows < max - all;
}

/* CONTINUE with the opener's row, or NULL if it is not limited; DROP_FLOW_SHARE if it has enough. Not
 * inlined, for the sake of its callers' stack. */
static __attribute__((noinline, unused)) int opener__admit(struct opener_flows **mine,
						   const struct addr *source, __u32 incarnation,
						   __u32 node, __u32 flags)
{
	const struct opened *opened = opened__get();
	struct opener opener = {};

	*mine = NULL;
	if (!opener__of(&opener, source, incarnation, node, flags))
		return CONTINUE;
	*mine = opener__row(&opener);
	if (*mine && opened && !opened__has_room_for(opened, READ_ONCE((*mine)->flows)))
		return DROP_FLOW_SHARE;
	return CONTINUE;
}

/* After opener__admit: the flow was opened. `is_new`: in rows that were free. */
static __always_inline void opener__count(struct opener_flows *mine, bool is_new)
{
	struct opened *opened = opened__get();

	if (mine)
		__sync_fetch_and_add(&mine->flows, 1);
	if (opened && is_new)
		__sync_fetch_and_add(&opened->flows, 1);
}

/* The flow of that row ends before a walk counts it out. */
static __always_inline void opener__forget_one(const struct flow_key *key, const struct flow *flow)
{
	struct opened *opened = opened__get();
	struct opener opener = {};
	struct opener_flows *row;

	if (!(flow->flags & FLOW_OPENER))
		return;
	if (opened)
		__sync_fetch_and_add(&opened->flows, -1);
	if (!opener__of(&opener, &key->saddr, flow->source_incarnation, flow->source_node, flow->flags))
		return;
	row = bpf_map_lookup_elem(&sb_openers, &opener);
	if (row)
		__sync_fetch_and_add(&row->flows, -1);
}

/*
 * -- Recounting, around and during a walk of the table, which others change meanwhile: a flow that is opened or
 * ended adds to `flows` at once, and the walk adds at its end what its own count differs by. A walk that never
 * ends has changed nothing.
 */

static long opener__begin_recount(void *map, const struct opener *opener, struct opener_flows *row,
				  void *context)
{
	row->recount = -READ_ONCE(row->flows);
	return 0;
}

static long opener__end_recount(void *map, struct opener *opener, struct opener_flows *row,
				void *context)
{
	__sync_fetch_and_add(&row->flows, row->recount);
	if ((__s32)READ_ONCE(row->flows) <= 0 && opener->kind != OPENER_OUTSIDE)
		bpf_map_delete_elem(&sb_openers, opener);
	return 0;
}

static __always_inline void openers__begin_recount(void)
{
	struct opener outside = { .kind = OPENER_OUTSIDE };
	struct opened *opened = opened__get();

	opener__row(&outside);		/* always there, for those who find no room */
	bpf_for_each_map_elem(&sb_openers, opener__begin_recount, NULL, 0);
	if (opened)
		opened->recount = -READ_ONCE(opened->flows);
}

static __always_inline void openers__recount(const struct flow_key *key, const struct flow *flow)
{
	struct opened *opened = opened__get();
	struct opener opener = {};
	struct opener_flows *row;

	if (!(flow->flags & FLOW_OPENER))
		return;
	if (opened)
		opened->recount++;
	if (!opener__of(&opener, &key->saddr, flow->source_incarnation, flow->source_node, flow->flags))
		return;
	row = opener__row(&opener);
	if (row)
		row->recount++;
}

static __always_inline void openers__end_recount(void)
{
	struct opened *opened = opened__get();

	bpf_for_each_map_elem(&sb_openers, opener__end_recount, NULL, 0);
	if (opened)
		__sync_fetch_and_add(&opened->flows, opened->recount);
}
