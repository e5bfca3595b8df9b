/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Cost of sb_xdp_uplink on an established flow, by runs as in bench.h: each asserts its verdict, the length it leaves
 * and the inner packet. A frame that was put into the tunnel, or taken out, is moved back first, which the
 * figure contains: a few ns more than the program takes.
 */
#include "../progs/xdp_uplink.bpf.c"

#define BENCH_BYTES 128			/* more than all headers that a program writes: as much of the frame is asserted */

const volatile __u64 bench_before[BENCH_BYTES / 8];
const volatile __u64 bench_after[BENCH_BYTES / 8];
const volatile __u32 bench_bytes;	/* of the frame */
const volatile __s32 bench_grows;	/* by so many bytes it leaves longer */
const volatile struct flow_key bench_key;	/* of a row that is there */

/* What a run returns when it did not do what it must. */
#define BENCH_WRONG 100

static __always_inline long bench__bytes(struct xdp_md *ctx)
{
	long bytes = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	asm volatile("" : "+r"(bytes));	/* no arithmetic of pointers but this */
	return bytes;
}

static __always_inline bool bench__restore(struct xdp_md *ctx)
{
	long moved = bench__bytes(ctx) - bench_bytes;
	void *data, *end;
	int i;

	if (moved && bpf_xdp_adjust_head(ctx, moved))
		return false;
	data = (void *)(long)ctx->data;
	end = (void *)(long)ctx->data_end;
	if (data + BENCH_BYTES > end)
		return false;
	for (i = 0; i < BENCH_BYTES / 8; i++)
		((__u64 *)data)[i] = bench_before[i];
	return true;
}

static __always_inline int bench__assert(struct xdp_md *ctx, const volatile __u64 *expected, __s32 grown)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	__u64 difference = 0;
	int i;

	if (data + BENCH_BYTES > end)
		return BENCH_WRONG;
	for (i = 0; i < BENCH_BYTES / 8; i++)
		difference |= ((__u64 *)data)[i] ^ expected[i];
	return difference || bench__bytes(ctx) != (long)bench_bytes + grown ? BENCH_WRONG : XDP_TX;
}

SEC("xdp")
int bench_empty(struct xdp_md *ctx)
{
	return XDP_TX;
}

/* The yardstick: one hit in a hash with the keys of sb_flows. */
SEC("xdp")
int bench_lookup(struct xdp_md *ctx)
{
	struct flow_key key = bench_key;

	return flow__find(&key) ? XDP_TX : BENCH_WRONG;
}

SEC("xdp")
int bench_restore(struct xdp_md *ctx)
{
	return bench__restore(ctx) ? bench__assert(ctx, bench_before, 0) : BENCH_WRONG;
}

SEC("xdp")
int bench_xdp_uplink(struct xdp_md *ctx)
{
	if (!bench__restore(ctx) || xdp_verdict(ctx) != XDP_TX)
		return BENCH_WRONG;
	return bench__assert(ctx, bench_after, bench_grows);
}
