/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Addresses of this node's pod ranges that nobody has: who goes on with a connection to one is told that it has
 * ended (ADR 0099). */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "flows.h"
#include "ipcache.h"
#include "verdict.h"

#define LOOPBACK_IFINDEX 1		/* in every network namespace */

/*
 * The middle of a connection, to a pod that is gone. Asked of a source that has been judged. Of a reset nobody is
 * told, nor of a connection's beginning: that is no more answered here than by any host that is not there. The
 * rules that answer are there with services only.
 */
__rare int vacant__is_told(const struct packet *p, const struct config *config)
{
	__u32 node;

	if (!p || !config || !(config->flags & CONFIG_SERVICES) || !packet__is_midstream(p) ||
	    p->tcp_flags & TCP_RST || p->flags & PACKET_FRAGMENT_LATER)
		return false;
	return ipcache__range(&p->key.daddr, config->own_node, &node) == RANGE_OWN &&
	       !endpoint__find(&p->key.daddr);
}

/*
 * What came out of the tunnel has the tunnel's metadata where the kernel's `reject` looks for a route: it loses the
 * one and looks for the other if it comes in by another device. Any would do, and loopback is always there.
 */
__rare int vacant__refuse_tunnelled(struct __sk_buff *skb)
{
	const struct { __u8 target[ETH_ALEN], source[ETH_ALEN]; } loopback = {};

	if (bpf_skb_store_bytes(skb, 0, &loopback, sizeof(loopback), 0))
		return DROP_TRUNCATED;
	skb->mark |= SB_REFUSE;
	redirect__note(skb, REDIRECT_DEVICE, LOOPBACK_IFINDEX);
	bpf_redirect(LOOPBACK_IFINDEX, BPF_F_INGRESS);
	return PASS_REFUSED;
}
