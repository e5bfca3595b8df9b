/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Cost of sb_from_overlay on an established flow, with tunnel metadata put on by the first run. */
#include "../progs/from_overlay.bpf.c"
#include "bench.h"
#include "tunnel.h"

static __always_inline bool restore(struct __sk_buff *skb)
{
	if (!skb->cb[4]) {
		test_tunnel__receive(skb);
		skb->cb[4] = 1;
	}
	return bench__restore(skb);
}

SEC("tc")
int bench_restore(struct __sk_buff *skb)
{
	if (!restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, bench_verdict) == bench_verdict ? bench_verdict : 0;
}

SEC("tc")
int bench_from_overlay(struct __sk_buff *skb)
{
	if (!restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, finish(skb, PLACE_FROM_OVERLAY, from_overlay(skb)));
}
