/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The one way out by an uplink that is not the stack's: to a node on the same link, without a tunnel. */
#pragma once

#include "config.h"
#include "hop.h"
#include "nodes.h"
#include "verdict.h"

/* Answers: whose name do pods speak in when they leave by this device, and how long may their packets
 * be? Written by the agent: a row per device that sb_from_uplink hangs on. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, struct uplink);
} sb_uplinks SEC(".maps");

/* The next hop is the kernel's at this moment, so a route that changes holds without us. PASS_UPLINK, or what
 * else became of it. */
static __always_inline int uplink__send(struct __sk_buff *skb, const struct packet *p,
					const struct config *config, const struct node *node)
{
	int outcome;

	if (unlikely(!config->uplink_ifindex))	/* a redirect to nowhere would drop without a word */
		return DROP_NO_NODE;
	outcome = hop__take(skb, p, node->mtu);
	if (outcome != CONTINUE)
		return outcome;
	if (config->flags & (CONFIG_TRANSLATED | CONFIG_SERVICES))	/* sb_to_uplink runs next, and has nothing left to do */
		skb->mark |= SB_DONE;
	if (!hop__add_ethernet(skb))
		return DROP_TRUNCATED;
	redirect__note(skb, REDIRECT_NEIGHBOUR, config->uplink_ifindex);
	bpf_redirect_neigh(config->uplink_ifindex, NULL, 0, 0);
	return PASS_UPLINK;
}
