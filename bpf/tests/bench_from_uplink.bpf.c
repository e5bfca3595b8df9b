/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Cost of sb_from_uplink: on an established flow without a tunnel, and on what it only looks at. */
#include "../progs/from_uplink.bpf.c"
#include "bench.h"

SEC("tc")
int bench_restore(struct __sk_buff *skb)
{
	if (!bench__restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, bench_verdict) == bench_verdict ? bench_verdict : 0;
}

SEC("tc")
int bench_from_uplink(struct __sk_buff *skb)
{
	if (!bench__restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, finish(skb, PLACE_FROM_UPLINK, from_uplink(skb)));
}
