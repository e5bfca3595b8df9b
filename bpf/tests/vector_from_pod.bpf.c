/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sb_from_pod for packet vectors: the tunnel key it set is written down. */
#include "../progs/from_pod.bpf.c"
#include "tunnel.h"

SEC("tc")
int vector_from_pod(struct __sk_buff *skb)
{
	int verdict = finish(skb, PLACE_FROM_POD, from_pod(skb));

	test_tunnel__note(skb);
	skb->cb[2] = skb->pkt_type;	/* which a test run does not give out */
	return verdict;
}
