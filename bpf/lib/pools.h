/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The ports that masqueraded flows get: which are never given out, and how full it is towards whom. */
#pragma once

#include "bpf.h"

/* Answers: which ports does no masqueraded flow get? Written by the agent: ports of node ports, of the
 * tunnel, and those that the kernel reserves. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, RESERVED_ROWS);
	__type(key, __u32);
	__type(value, __u64);
} sb_reserved SEC(".maps");

/* Answers: how many ports are in use towards this destination? Written by the programs; an LRU, since a
 * lost row only means that it is counted anew by the next walk of the flow table. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct pool_key);
	__type(value, struct pool);
} sb_pools SEC(".maps");
