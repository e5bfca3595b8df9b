/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A program that finds the table full looks for what has expired itself, so that a node without its agent, and
 * so without sb_sweep, is not without new flows for ever. In parts, since nothing else runs meanwhile.
 */
#pragma once

#include "expiry.h"

/* Answers: when did a program last look for expired rows, and how far did it get? Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct reclaim);
} sb_reclaim SEC(".maps");

/* Not more often than this, over all programs and CPUs, … */
#define RECLAIM_PAUSE_SEC 4
/* … and so many rows at a time: about 5 ms. */
#define RECLAIM_ROWS 32768

struct reclaim_walk {
	struct expiry expiry;
	__u32 from;
	__u32 rows;
	__u32 removed;
};

static long reclaim__visit(void *map, struct flow_key *key, struct flow *flow,
			   struct reclaim_walk *walk)
{
	__u32 row = walk->rows++;

	if (row < walk->from)
		return 0;
	if (row - walk->from >= RECLAIM_ROWS)
		return 1;
	walk->removed += expiry__judge(key, flow, &walk->expiry);
	return 0;
}

/* False if nothing was removed or another program has just tried. */
__rare int flows__reclaim(void)
{
	struct reclaim_walk walk = {
		.expiry = { .timeouts = timeouts__get(), .is_pressed = true },
	};
	__u32 zero = 0, now = clock__now(), last;
	struct reclaim *reclaim = bpf_map_lookup_elem(&sb_reclaim, &zero);

	if (!reclaim || !walk.expiry.timeouts)
		return false;
	walk.expiry.hz = clock__hz();
	last = READ_ONCE(reclaim->last);
	if (last && now - last < clock__ticks(RECLAIM_PAUSE_SEC, walk.expiry.hz))
		return false;
	if (__sync_val_compare_and_swap(&reclaim->last, last, now) != last)
		return false;
	walk.from = reclaim->cursor;
	bpf_for_each_map_elem(&sb_flows, reclaim__visit, &walk, 0);
	/* Those that went are not there to be passed over. From the beginning if that was the end. */
	reclaim->cursor = walk.rows > walk.from + RECLAIM_ROWS ?
				  walk.from + RECLAIM_ROWS - walk.removed : 0;
	return walk.removed;
}
