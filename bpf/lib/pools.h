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

/* A prime above all ports is prime to the size of any range of them, so that steps of it meet every port
 * before one comes again; and it scatters them. */
#define PORTS_STRIDE 2654435761U

#define POOL_ROWS 1024			/* 22 = 32 - 10 bits */

/* In arrays that destinations share. */
static __always_inline __u32 pool__row(const struct pool_key *pool)
{
	__u32 hash = pool->daddr.w[0] ^ pool->daddr.w[1] ^ pool->daddr.w[2] ^ pool->daddr.w[3];

	hash ^= (__u32)pool->dport << 16 | pool->proto;
	return hash * PORTS_STRIDE >> 22;
}
