/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cost of a program on an established flow, or on one that it begins: each run restores what the last one
 * changed, calls the real function and asserts its verdict and the bytes it leaves. bench_restore does the
 * first part alone and is subtracted. Neighbour and device costs are not in such a figure; those of the FIB
 * are, of first packets.
 */
#pragma once

#include "flows.h"

#define BENCH_BYTES 64			/* Ethernet, IP and UDP: all a program changes, and more */

/* Header before and after; set by the loader. */
const volatile __u64 bench_before[BENCH_BYTES / 8];
const volatile __u64 bench_after[BENCH_BYTES / 8];
const volatile struct flow_key bench_key;	/* of a row that is there */
const volatile __u32 bench_mark;
const volatile __s32 bench_verdict;

/* Where the source port is, if each run is to begin a flow, under a port of its own; else 0. */
const volatile __u32 bench_port_at;

#define BENCH_FIRST_PORT 32768
#define BENCH_PORTS 32768

__u32 bench_turn;

/* What a run returns when it did not do what it must. */
#define BENCH_WRONG 100

static __always_inline bool bench__restore(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	int i;

	if (data + BENCH_BYTES > end)
		return false;
	for (i = 0; i < BENCH_BYTES / 8; i++)
		((__u64 *)data)[i] = bench_before[i];
	if (bench_port_at)
		*(__be16 *)(data + bench_port_at) = bpf_htons(BENCH_FIRST_PORT + bench_turn++ % BENCH_PORTS);
	skb->mark = bench_mark;
	return true;
}

static __always_inline int bench__assert(struct __sk_buff *skb, int verdict)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u64 difference = 0;
	int i;

	if (data + BENCH_BYTES > end)
		return BENCH_WRONG;
	if (bench_port_at)
		*(__be16 *)(data + bench_port_at) = bpf_htons(BENCH_FIRST_PORT);
	for (i = 0; i < BENCH_BYTES / 8; i++)
		difference |= ((__u64 *)data)[i] ^ bench_after[i];
	return difference || verdict != bench_verdict ? BENCH_WRONG : verdict;
}

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	return bench_verdict;
}

/* The yardstick: one hit in a hash with the keys of sb_flows. */
SEC("tc")
int bench_lookup(struct __sk_buff *skb)
{
	struct flow_key key = bench_key;

	return flow__find(&key) ? bench_verdict : BENCH_WRONG;
}
