/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Packets that the node sends on in its own name the kernel gets under their sender's, for no more than to say why
 * they cannot go on: in whose name it says so.
 */
#pragma once

#include "clock.h"
#include "types.h"

/* Answers: as what does the sender know the packet whose answers would have this key? Written by the programs. A
 * small LRU, since anybody can send what is too long: a lost row means an error that its reader does not understand. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow_key);
	__type(value, struct lent);
} sb_lent SEC(".maps");

/* The kernel answers at once: what is older than this (clock.h) it does not answer. */
#define LENT_TICKS 16

/* NULL: none was lent just now. */
static __always_inline const struct translation *lent__find(const struct flow_key *about)
{
	const struct lent *lent = bpf_map_lookup_elem(&sb_lent, about);

	return lent && clock__now() - lent->seen < LENT_TICKS ? &lent->to : NULL;
}
