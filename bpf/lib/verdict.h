/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* From outcome to what tc wants to hear: counting, redirecting, and the mark of finished packets. */
#pragma once

#include "bpf.h"

/* Bit of skb->mark on a packet we are done with: egress programs clear it and pass it on.
 * agent/src/marks.ts carries the same. Above the low 16 bits, where the kernel's own MLD and IGMP
 * packets carry a number of theirs. */
#define SB_DONE 0x200000

/* Bit of skb->mark on a packet for a service without endpoints, or of a connection to a pod that is gone: rules of
 * nftables answer it with a reset or an ICMP error. */
#define SB_REFUSE 0x400000

/* Bit of skb->mark on what a client outside asks of another node's pod where the kernel sends it there: a rule of
 * nftables lends it an address of this node, which answers come back to. */
#define SB_LEND 0x800000

/* Bit of skb->mark on what the stack sends out for us as a pod sent it: sb_to_uplink is yet to translate it, and
 * rules of nftables leave it untracked. */
#define SB_TO_TRANSLATE 0x100000

/* What skb->cb tells a test about a redirect, which a test run does not execute. */
enum redirect_kind {
	REDIRECT_NONE = 0,
	REDIRECT_PEER = 1,		/* into the namespace of the device's peer */
	REDIRECT_DEVICE = 2,		/* out of the device */
	REDIRECT_NEIGHBOUR = 3,		/* out of the device, to the neighbour that routes say */
};

/* Answers: what became of the packets, where? Written by the programs; nothing leaves. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, PLACES_MAX * OUTCOMES_MAX);
	__type(key, __u32);
	__type(value, struct counter);
} sb_counters SEC(".maps");

static __always_inline void redirect__note(struct __sk_buff *skb, enum redirect_kind kind,
					   __u32 ifindex)
{
	skb->cb[0] = kind;
	skb->cb[1] = ifindex;
}

/* The end of every program: counts the outcome and says what tc shall do. Passing on is
 * TC_ACT_UNSPEC = TCX_NEXT, so that others on the hook still run. */
static __always_inline int finish(struct __sk_buff *skb, enum place place, int outcome)
{
	__u32 index = place * OUTCOMES_MAX + outcome;
	struct counter *counter = bpf_map_lookup_elem(&sb_counters, &index);

	if (likely(counter)) {
		counter->packets++;
		counter->bytes += skb->len;
	}
	if (outcome == PASS_LOCAL ||
	    ((outcome == PASS_NODE || outcome == PASS_UPLINK || outcome == PASS_GATEWAY ||
	      outcome == PASS_OUT) &&
	     place != PLACE_TO_OVERLAY && place != PLACE_TO_UPLINK) ||
	    (outcome == PASS_REFUSED && place == PLACE_FROM_OVERLAY))
		return TC_ACT_REDIRECT;
	if ((outcome >= DROP_FIRST && outcome <= DROP_LAST) ||
	    (outcome >= DROP_MORE && outcome <= DROP_MORE_LAST))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}
