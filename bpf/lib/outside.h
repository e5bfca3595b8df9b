/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way out of the cluster: which of a pod's flows leave under the node's address, by which uplink, and
 * the packet itself. What is not ours to translate takes the stack, whose nftables rule does it.
 */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "hop.h"
#include "ipcache.h"
#include "rewrite.h"
#include "uplink.h"
#include "verdict.h"

/* Where the kernel's routes send a packet, and whose name it gets there. */
struct way_out {
	__u32 ifindex;
	__u32 mtu;
	struct addr source;
};

enum route {
	ROUTE_OUT,			/* by an uplink of ours: *out is filled in */
	ROUTE_FOREIGN,			/* by a device we know nothing of, or with no address to speak from */
	ROUTE_NONE,			/* to the node itself, or nowhere: the stack says which */
};

/* Who is translated by us, if a route leads out: asked on the first packet of a flow, and of fragments
 * that have no ports. */
static __always_inline bool outside__is_ours(const struct packet *p, const struct config *config,
					     const struct endpoint *source)
{
	if (!(config->flags & CONFIG_MASQUERADE) || source->flags & ENDPOINT_KEEPS_ADDRESS)
		return false;
	/* Nodes without a tunnel between them have routes to each other's pods. */
	if (config->flags & CONFIG_NATIVE && node__id_of(&p->key.daddr))
		return false;
	return !endpoint__find(&p->key.daddr) && ipcache__is_outside(&p->key.daddr);
}

/* Of a protocol that we translate some packets of. */
static __always_inline bool outside__has_ports(const struct packet *p)
{
	return p->key.proto == IPPROTO_TCP || p->key.proto == IPPROTO_UDP ||
	       p->key.proto == (p->flags & PACKET_IPV6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP);
}

/* A first packet of what we can translate: the others' ports or ids are not known to us. */
static __always_inline bool outside__is_first(const struct packet *p)
{
	switch (p->key.proto) {
	case IPPROTO_TCP:
		return (p->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	case IPPROTO_UDP:
		return true;
	case IPPROTO_ICMP:
		return p->key.icmp_class == ICMP_CLASS_ECHO && p->icmp_type == ICMP_ECHO;
	case IPPROTO_ICMPV6:
		return p->key.icmp_class == ICMP_CLASS_ECHO && p->icmp_type == ICMPV6_ECHO_REQUEST;
	}
	return false;
}

/* linux/socket.h has no place in a program. */
#define AF_INET 2
#define AF_INET6 10

static __always_inline void outside__ask(struct bpf_fib_lookup *fib, const struct addr *source,
					 const struct addr *target)
{
	if (addr__is_ipv4(target)) {
		fib->family = AF_INET;
		fib->ipv4_src = source->w[3];
		fib->ipv4_dst = target->w[3];
	} else {
		fib->family = AF_INET6;
		__builtin_memcpy(fib->ipv6_src, source, sizeof(*source));
		__builtin_memcpy(fib->ipv6_dst, target, sizeof(*target));
	}
}

/* Routes say so, not the agent: which may not be running when an address goes. */
__rare int outside__is_local(struct __sk_buff *skb, const struct addr *addr)
{
	struct bpf_fib_lookup fib = {};

	if (!addr)
		return false;
	fib.ifindex = skb->ifindex;
	outside__ask(&fib, addr, addr);
	return bpf_fib_lookup(skb, &fib, sizeof(fib), 0) == BPF_FIB_LKUP_RET_NOT_FWDED;
}

/* bpf_redirect_neigh looks the route up for the packet as it leaves, by that device: a rule about the pod's own
 * address does not hold then, and where no route is left IPv4 takes the destination for a neighbour. */
static __always_inline bool outside__leads(struct __sk_buff *skb, const struct packet *p,
					   const struct config *config, struct bpf_fib_lookup *fib,
					   const struct way_out *out)
{
	__u32 flags = BPF_FIB_LOOKUP_OUTPUT;
	long found;

	if (config->flags & CONFIG_FIB_SOURCE)
		flags |= BPF_FIB_LOOKUP_SKIP_NEIGH;
	__builtin_memset(fib, 0, sizeof(*fib));
	outside__ask(fib, &out->source, &p->key.daddr);
	fib->ifindex = out->ifindex;
	fib->l4_protocol = p->key.proto;
	fib->tot_len = 1;
	if (!(p->flags & PACKET_IPV6))
		fib->tos = p->tos & 0xfc;
	found = bpf_fib_lookup(skb, fib, sizeof(*fib), flags);
	if (fib->ifindex != out->ifindex)
		return false;
	return found == BPF_FIB_LKUP_RET_SUCCESS || found == BPF_FIB_LKUP_RET_NO_NEIGH ||
	       found == BPF_FIB_LKUP_RET_FWD_DISABLED;	/* of what comes in by it */
}

/* The kernel is asked as it would ask itself for a packet that this pod sends: rules and the choice among
 * several next hops hold. `keeps_source`: whoever sends it leaves under the address that it has. One of
 * enum route. */
__rare int outside__route(struct __sk_buff *skb, const struct packet *p, const struct config *config,
			  struct way_out *out, bool keeps_source)
{
	struct bpf_fib_lookup fib = {};
	const struct uplink *uplink;
	__u32 flags = 0, ifindex;
	long found;

	if (!p || !config || !out)
		return ROUTE_NONE;
	if (config->flags & CONFIG_FIB_SOURCE)	/* these kernels need no neighbour for an answer, either */
		flags = BPF_FIB_LOOKUP_SRC | BPF_FIB_LOOKUP_SKIP_NEIGH;
	outside__ask(&fib, &p->key.saddr, &p->key.daddr);
	fib.ifindex = skb->ifindex;
	fib.l4_protocol = p->key.proto;
	fib.sport = p->key.sport;
	fib.dport = p->key.dport;
	fib.tot_len = 1;		/* of the answer: the route's MTU */
	if (!(p->flags & PACKET_IPV6))
		fib.tos = p->tos & 0xfc;
	found = bpf_fib_lookup(skb, &fib, sizeof(fib), flags);
	if (found != BPF_FIB_LKUP_RET_SUCCESS && found != BPF_FIB_LKUP_RET_NO_NEIGH)
		return found == BPF_FIB_LKUP_RET_NO_SRC_ADDR ? ROUTE_FOREIGN : ROUTE_NONE;
	ifindex = fib.ifindex;
	uplink = bpf_map_lookup_elem(&sb_uplinks, &ifindex);
	if (!uplink)
		return ROUTE_FOREIGN;
	out->ifindex = ifindex;
	out->mtu = uplink->mtu;
	if (found == BPF_FIB_LKUP_RET_SUCCESS && fib.mtu_result > 1 &&
	    (!out->mtu || fib.mtu_result < out->mtu))
		out->mtu = fib.mtu_result;
	if (keeps_source) {
		out->source = p->key.saddr;
	} else if (config->flags & CONFIG_FIB_SOURCE) {
		if (p->flags & PACKET_IPV6)
			__builtin_memcpy(&out->source, fib.ipv6_src, sizeof(out->source));
		else
			addr__from_ipv4(&out->source, fib.ipv4_src);
		if (!(p->flags & PACKET_IPV6) && !fib.ipv4_src)
			return ROUTE_FOREIGN;
	} else {
		out->source = p->flags & PACKET_IPV6 ? uplink->source6 : uplink->source4;
		if (addr__is_zero(&out->source) || !outside__is_local(skb, &out->source))
			return ROUTE_FOREIGN;
	}
	return outside__leads(skb, p, config, &fib, out) ? ROUTE_OUT : ROUTE_FOREIGN;
}

static __always_inline int outside__redirect(struct __sk_buff *skb, __u64 way)
{
	skb->mark |= SB_DONE;		/* sb_to_uplink runs next, and has nothing left to do */
	if (!hop__add_ethernet(skb))
		return DROP_TRUNCATED;
	redirect__note(skb, REDIRECT_NEIGHBOUR, way__node(way));
	bpf_redirect_neigh(way__node(way), NULL, 0, 0);
	return PASS_OUT;
}

/* All of a datagram or none: the kernel, once it puts datagrams together, waits for every piece of one whose first
 * was too long for the uplink. */
static __always_inline bool outside__is_piece(const struct packet *p, __u32 mtu)
{
	const struct endpoint *pod;

	if (likely(!(p->flags & (PACKET_FRAGMENT_FIRST | PACKET_FRAGMENT_LATER))))
		return false;
	pod = endpoint__find(&p->key.saddr);
	return mtu && pod && pod->mtu > mtu;
}

/* What the short way cannot carry is for the stack to cut up, or to answer. As the pod sent it: the kernel takes its
 * own name from nobody, and sb_to_uplink translates what comes out (ADR 0064). */
static __always_inline int outside__to_stack(struct __sk_buff *skb, int outcome)
{
	skb->mark |= SB_TO_TRANSLATE;
	return outcome;
}

/* By the uplink, as its row says. PASS_OUT, or what else became of it. */
static __always_inline int outside__send(struct __sk_buff *skb, const struct packet *p,
					 const struct config *config, const struct flow *flow,
					 __u64 way)
{
	int outcome = hop__check(skb, p, flow->mtu);

	if (unlikely(outcome == CONTINUE && outside__is_piece(p, flow->mtu)))
		outcome = PASS_STACK;
	if (unlikely(outcome != CONTINUE))
		return outside__to_stack(skb, outcome);
	outcome = hop__take(skb, p, 0);
	if (outcome != CONTINUE)
		return outcome;
	outcome = rewrite__source(skb, p, config, &flow->to);
	return outcome == CONTINUE ? outside__redirect(skb, way) : outcome;
}
