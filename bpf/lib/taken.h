/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which ports of a pool that fills up are taken, a bit for each, so that a search need not ask the flow table for
 * each. A hint: who finds a port free here still has to insert its row, and one that is not found here is looked for
 * in the table. Learned from flows that begin and from what a search meets, made anew by each pass of sb_sweep.
 */
#pragma once

#include "config.h"
#include "pools.h"

/* No range has ports below 30000. */
#define TAKEN_FIRST (29952 / 64)
#define TAKEN_WORDS (65536 / 64 - TAKEN_FIRST)

/* Less than an eighth of a pool in use: a search does not meet many. Small pools are walked soon. */
#define TAKEN_SHARE 8
#define TAKEN_POOL_MIN 1024

struct taken {
	__u64 words[TAKEN_WORDS];	/* bit port % 64 of word port / 64 - TAKEN_FIRST */
};

/* Answers: which ports towards this destination are in use, as far as is known? Written by the programs, rows
 * only for pools that fill up; removed by sb_sweep. Not preallocated: mostly there is none. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 128);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct pool_key);
	__type(value, struct taken);
} sb_taken SEC(".maps");

/* Nothing: what a row of sb_taken is at first, too big for the stack. Never written. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct taken);
} sb_taken_none SEC(".maps");

/* Answers: how many flows have got a port since the last pass of sb_sweep began? Of all destinations that share a
 * row, and without a lock: more or less. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POOL_ROWS);
	__type(key, __u32);
	__type(value, __u32);
} sb_port_opened SEC(".maps");

static __always_inline __u32 *pool__opened(const struct pool_key *key)
{
	__u32 row = pool__row(key);

	return bpf_map_lookup_elem(&sb_port_opened, &row);
}

/* Not less than that, short of what other CPUs do just now. */
static __always_inline __u32 pool__in_use(const struct pool_key *key, const struct pool *pool)
{
	const __u32 *opened = pool__opened(key);

	return (pool ? pool->used : 0) + (opened ? *opened : 0);
}

/* Of a pool with so many ports in use, from `min` on. */
static __always_inline bool taken__is_worth(__u32 in_use, __u32 min, __u32 size)
{
	return size >= TAKEN_POOL_MIN && min / 64 >= TAKEN_FIRST && in_use >= size / TAKEN_SHARE;
}

/* The bits of ports from `word` * 64 on. */
static __always_inline __u64 *taken__word(struct taken *taken, __u32 word)
{
	__u64 at = word - TAKEN_FIRST;

	if (at >= TAKEN_WORDS)
		return NULL;
	asm volatile("" : "+r"(at));	/* what was checked is what is used, as verifiers see it */
	return &taken->words[at];
}

static __always_inline void taken__add(struct taken *taken, __u16 port)
{
	__u64 *bits = taken__word(taken, port / 64);

	if (bits)
		__sync_fetch_and_or(bits, 1ULL << port % 64);
}

/* In a row that is made if there is none; without room for one it is not known. */
static __always_inline void taken__note(const struct pool_key *pool, __u16 port)
{
	struct taken *taken = bpf_map_lookup_elem(&sb_taken, pool);
	const struct taken *none;
	__u32 zero = 0;

	if (unlikely(!taken)) {
		none = bpf_map_lookup_elem(&sb_taken_none, &zero);
		if (!none)
			return;
		bpf_map_update_elem(&sb_taken, pool, none, BPF_NOEXIST);
		taken = bpf_map_lookup_elem(&sb_taken, pool);
		if (!taken)
			return;
	}
	taken__add(taken, port);
}

/* The lowest bit that is set, of one that is. */
static __always_inline __u32 bits__lowest(__u64 bits)
{
	__u32 at = 0;

	if (!(bits & 0xffffffff)) { bits >>= 32; at += 32; }
	if (!(bits & 0xffff)) { bits >>= 16; at += 16; }
	if (!(bits & 0xff)) { bits >>= 8; at += 8; }
	if (!(bits & 0xf)) { bits >>= 4; at += 4; }
	if (!(bits & 0x3)) { bits >>= 2; at += 2; }
	return at + !(bits & 1);
}

/* One that is set, which nobody can foretell if there are several (RFC 6056). */
__rare int bits__any(__u64 bits)
{
	__u32 from = bpf_get_prandom_u32() % 64;
	__u64 above = bits & ~0ULL << from;

	return bits__lowest(above ? above : bits);
}
