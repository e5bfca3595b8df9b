/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The one way into a local pod that is not the kernel's: every program that can deliver calls it. */
#pragma once

#include "endpoints.h"
#include "hop.h"
#include "verdict.h"

/*
 * `to` is the pod that has the destination address. PASS_LOCAL, or what else became of it.
 * `is_sending`: the program runs where a device sends, not where one received. The kernel redirects
 * into a peer from the latter only, and drops without a word what asks for it from elsewhere.
 */
static __always_inline int arrive(struct __sk_buff *skb, const struct packet *p,
				  const struct endpoint *to, bool is_sending)
{
	int outcome = hop__take(skb, p, to->mtu);
	void *data, *end;

	if (outcome != CONTINUE)
		return outcome;
	if (!L2_LEN && unlikely(bpf_skb_change_head(skb, ETH_HLEN, 0)))
		return DROP_TRUNCATED;
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	if (unlikely(data + ETH_HLEN > end))
		return DROP_TRUNCATED;
	if (!L2_LEN)
		((struct ethhdr *)data)->h_proto = skb->protocol;
	*(struct mac_pair *)data = *(const struct mac_pair *)to->pod_mac;

	/* The peer's stack looks at none of ours: not at our marks, nor at when we meant to send. */
	skb->tstamp = 0;
	if (unlikely(is_sending || to->flags & ENDPOINT_SHAPED)) {	/* ADR 0056, 0017 */
		skb->mark = SB_DONE;	/* sb_to_pod runs next, and has nothing left to do */
		redirect__note(skb, REDIRECT_DEVICE, to->ifindex);
		bpf_redirect(to->ifindex, 0);
		return PASS_LOCAL;
	}
	skb->mark = 0;
	/* Judged by the MAC it had when it came in, which need not have been that device's. */
	if (unlikely(skb->pkt_type != PACKET_HOST))
		bpf_skb_change_type(skb, PACKET_HOST);
	redirect__note(skb, REDIRECT_PEER, to->ifindex);
	bpf_redirect_peer(to->ifindex, 0);
	return PASS_LOCAL;
}
