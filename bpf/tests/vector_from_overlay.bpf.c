/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sb_from_overlay for packet vectors: the packet comes with the tunnel metadata of the vector. */
#include "../progs/from_overlay.bpf.c"
#include "tunnel.h"

SEC("tc")
int vector_from_overlay(struct __sk_buff *skb)
{
	int verdict;

	test_tunnel__receive(skb);
	verdict = finish(skb, PLACE_FROM_OVERLAY, from_overlay(skb));
	skb->cb[2] = skb->pkt_type;	/* which a test run does not give out */
	return verdict;
}
