/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Who asks for a service from outside, and who only seems to. */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "flows.h"
#include "ipcache.h"
#include "parse.h"

/* The kernel would take it from an uplink, and answers do not lead back into this node. By the loopback the node
 * asks itself. */
static __always_inline bool client__is_outside(const struct packet *p, const struct config *config)
{
	__u32 node;

	if (addr__is_untracked(&p->key.saddr) || addr__is_untracked(&p->key.daddr) ||
	    endpoint__find(&p->key.saddr) || node_addr__find(&p->key.saddr))
		return false;
	switch (ipcache__range(&p->key.saddr, config->own_node, &node)) {
	case RANGE_OWN:
		return false;
	case RANGE_OTHER:
		return config->flags & CONFIG_NATIVE;
	default:
		return true;
	}
}

/* What a socket of the node itself is answered, whose port is a service's, too. Of connected ones the kernel
 * knows whom they asked. */
__rare int client__is_asked(struct __sk_buff *skb, const struct packet *p)
{
	struct bpf_sock_tuple tuple = {};
	__u32 size = sizeof(tuple.ipv6);
	struct bpf_sock *socket;
	bool is_connected;

	if (!p || (p->key.proto != IPPROTO_UDP && !packet__is_midstream(p)))
		return false;
	if (p->flags & PACKET_IPV6) {
		__builtin_memcpy(tuple.ipv6.saddr, &p->key.saddr, sizeof(p->key.saddr));
		__builtin_memcpy(tuple.ipv6.daddr, &p->key.daddr, sizeof(p->key.daddr));
		tuple.ipv6.sport = p->key.sport;
		tuple.ipv6.dport = p->key.dport;
	} else {
		size = sizeof(tuple.ipv4);
		tuple.ipv4.saddr = p->key.saddr.w[3];
		tuple.ipv4.daddr = p->key.daddr.w[3];
		tuple.ipv4.sport = p->key.sport;
		tuple.ipv4.dport = p->key.dport;
	}
	if (p->key.proto == IPPROTO_UDP)
		socket = bpf_sk_lookup_udp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		socket = bpf_sk_lookup_tcp(skb, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	is_connected = p->key.proto == IPPROTO_UDP ? socket->state == BPF_TCP_ESTABLISHED :
						     socket->state != BPF_TCP_LISTEN;
	bpf_sk_release(socket);
	return is_connected;
}
