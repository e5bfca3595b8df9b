/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Cost of sb_to_uplink on a packet that left by it masqueraded, or of the node itself. */
#include "../progs/to_uplink.bpf.c"
#include "bench.h"

SEC("tc")
int bench_restore(struct __sk_buff *skb)
{
	if (!bench__restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, bench_verdict) == bench_verdict ? bench_verdict : 0;
}

SEC("tc")
int bench_to_uplink(struct __sk_buff *skb)
{
	if (!bench__restore(skb))
		return BENCH_WRONG;
	return bench__assert(skb, finish(skb, PLACE_TO_UPLINK, to_uplink(skb)));
}
