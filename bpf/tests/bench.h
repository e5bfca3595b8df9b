/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cost of a program on an established flow: each run restores what the last one changed, calls the
 * real function and asserts its verdict and the bytes it leaves. bench_restore does the first part
 * alone and is subtracted. Neighbour, FIB and device costs are not in such a figure.
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
