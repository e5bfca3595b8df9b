/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* sb_to_overlay for packet vectors: the tunnel key it set is written down. */
#include "../progs/to_overlay.bpf.c"
#include "tunnel.h"

SEC("tc")
int vector_to_overlay(struct __sk_buff *skb)
{
	int verdict = finish(skb, PLACE_TO_OVERLAY, to_overlay(skb));

	test_tunnel__note(skb);
	return verdict;
}
