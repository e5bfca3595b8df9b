/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What a pod may say about who it is: ARP, neighbour discovery, and sources that are not its own. */
#pragma once

#include "config.h"
#include "endpoints.h"
#include "gateway.h"
#include "guard_tunnel.h"
#include "ipcache.h"
#include "parse.h"

#define ND_OPTIONS_MAX 5

/* The frame's source is this MAC. Asked of ARP and ND only: a pod may have another MAC, set by a later
 * plug-in, and IP packets are judged by their source address alone. */
static __always_inline bool guard__is_sent_from(struct __sk_buff *skb, const __u8 mac[ETH_ALEN])
{
	__u8 source[ETH_ALEN];

	return !bpf_skb_load_bytes(skb, ETH_ALEN, source, sizeof(source)) &&
	       mac__equal(source, mac);
}

/* A pod that asks for the gateway may do so from any MAC: nobody but itself hears of it. In what goes
 * on to the kernel the MAC must be the one that the agent knows. */
__rare int guard__arp(struct __sk_buff *skb)
{
	const struct endpoint *pod;
	struct arp_ipv4 arp;
	struct addr sender;
	__be32 sender_ipv4;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &arp, sizeof(arp)))
		return DROP_TRUNCATED;
	if (arp.hardware != bpf_htons(ARPHRD_ETHER) || arp.protocol != bpf_htons(ETH_P_IP) ||
	    arp.hardware_len != ETH_ALEN || arp.protocol_len != 4)
		return DROP_BAD_HEADER;
	__builtin_memcpy(&sender_ipv4, arp.sender, sizeof(sender_ipv4));
	if (!sender_ipv4)		/* RFC 5227 §1.1: a probe claims nothing */
		return DROP_DAD;
	addr__from_ipv4(&sender, sender_ipv4);
	pod = endpoint__find(&sender);
	if (!endpoint__is_behind(pod, skb->ifindex) || !guard__is_sent_from(skb, arp.sender_mac))
		return DROP_SPOOFED_ARP;
	if (arp.operation == bpf_htons(ARPOP_REQUEST) && gateway__is_ipv4(arp.target))
		return gateway__answer_arp(skb, &arp, pod->host_mac);
	return mac__equal(arp.sender_mac, pod->pod_mac) ? PASS_NEIGHBOUR : DROP_SPOOFED_ARP;
}

/* No link-layer address option of the message names another MAC than this. PASS_NEIGHBOUR, or a drop. */
static __always_inline int guard__nd_options(struct __sk_buff *skb, const struct packet *p,
					     const __u8 mac[ETH_ALEN])
{
	__u32 at = p->l4 + sizeof(struct nd_message);
	__u32 left = p->l4_len - sizeof(struct nd_message);
	int i;

	for (i = 0; i < ND_OPTIONS_MAX; i++) {
		struct nd_option option;

		if (!left)
			return PASS_NEIGHBOUR;
		if (left < sizeof(option) || bpf_skb_load_bytes(skb, at, &option, sizeof(option)))
			return DROP_TRUNCATED;
		if (!option.units)
			return DROP_BAD_HEADER;
		if ((option.type == ND_OPTION_SOURCE_MAC || option.type == ND_OPTION_TARGET_MAC) &&
		    !mac__equal(option.mac, mac))
			return DROP_SPOOFED_ND;
		if (option.units * 8 > left)
			return DROP_TRUNCATED;
		at += option.units * 8;
		left -= option.units * 8;
	}
	return DROP_SPOOFED_ND;
}

/*
 * A solicitation of the gateway. The pod's kernel asks from the address that it wants to send from, and
 * later, whether the gateway still lives, from a link-local one, which nobody can judge: that is told
 * what it knows, the MAC it asks at.
 */
static __always_inline int guard__nd_gateway(struct __sk_buff *skb, const struct packet *p)
{
	struct { __u8 target[ETH_ALEN], source[ETH_ALEN]; } eth;
	const struct endpoint *pod;
	int outcome;

	if (bpf_skb_load_bytes(skb, 0, &eth, sizeof(eth)))
		return DROP_TRUNCATED;
	outcome = guard__nd_options(skb, p, eth.source);
	if (outcome != PASS_NEIGHBOUR)
		return outcome;
	if (addr__is_link_local(&p->key.saddr)) {
		if (eth.target[0] & 1)
			return DROP_LINK_LOCAL;
		return gateway__answer_nd(skb, p, eth.source, eth.target);
	}
	pod = endpoint__find(&p->key.saddr);
	if (!endpoint__is_behind(pod, skb->ifindex))
		return DROP_SPOOFED_ND;
	return gateway__answer_nd(skb, p, eth.source, pod->host_mac);
}

/* ND and MLD from a pod. What a pod's kernel says by itself when its interface comes up is dropped
 * quietly: there is nobody on the link to hear it. */
__rare int guard__nd(struct __sk_buff *skb, const struct packet *p)
{
	const struct endpoint *pod;
	struct nd_message nd;
	bool is_link_local;

	if (!p)
		return DROP_TRUNCATED;
	is_link_local = addr__is_link_local(&p->key.saddr);
	switch (p->icmp_type) {
	case ND_ROUTER_ADVERT:
	case ND_REDIRECT:
		return DROP_ROUTER_ADVERTISEMENT;
	case ND_ROUTER_SOLICIT:
		return DROP_LINK_LOCAL;
	case MLD_QUERY:
	case MLD_REPORT:
	case MLD_DONE:
	case MLD2_REPORT:
		return DROP_MULTICAST_LISTENER;
	}
	if (p->l4_len < sizeof(nd) || bpf_skb_load_bytes(skb, p->l4, &nd, sizeof(nd)))
		return DROP_TRUNCATED;
	if (p->ttl != 255)		/* RFC 4861 §7.1: nobody may believe it */
		return DROP_SPOOFED_ND;
	if (p->icmp_type == ND_NEIGHBOUR_SOLICIT) {
		if (addr__is_zero(&p->key.saddr))	/* RFC 4862 §5.4.2 */
			return DROP_DAD;
		if (gateway__is_ipv6(&nd.target))
			return guard__nd_gateway(skb, p);
		if (is_link_local)
			return DROP_LINK_LOCAL;
		pod = endpoint__find(&p->key.saddr);
	} else {
		if (is_link_local && addr__equal(&nd.target, &p->key.saddr))
			return DROP_LINK_LOCAL;
		if (!is_link_local &&
		    !endpoint__is_behind(endpoint__find(&p->key.saddr), skb->ifindex))
			return DROP_SPOOFED_ND;
		pod = endpoint__find(&nd.target);
	}
	if (!endpoint__is_behind(pod, skb->ifindex) || !guard__is_sent_from(skb, pod->pod_mac))
		return DROP_SPOOFED_ND;
	return guard__nd_options(skb, p, pod->pod_mac);
}

/* A source address that is not the pod's. */
__rare int guard__foreign_source(const struct packet *p)
{
	if (p && p->flags & PACKET_IPV6 && addr__is_link_local(&p->key.saddr))
		return DROP_LINK_LOCAL;
	return DROP_SPOOFED_SOURCE;
}

/*
 * An ICMP error is about a packet the pod was sent. Nothing else vouches for one: the node's kernel and
 * other pods' believe whoever says that a path of theirs is narrow or closed. CONTINUE or an outcome.
 */
static __always_inline int guard__icmp_error(struct __sk_buff *skb, const struct packet *p)
{
	bool is_ipv6 = p->flags & PACKET_IPV6;
	__u32 at = p->l4 + sizeof(struct icmp_header);
	__u32 need = sizeof(struct icmp_header);
	struct addr receiver;
	__be32 ipv4;

	need += is_ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);
	if (p->l4_len < need)
		return DROP_TRUNCATED;
	if (is_ipv6) {
		if (bpf_skb_load_bytes(skb, at + offsetof(struct ipv6hdr, daddr), &receiver,
				       sizeof(receiver)))
			return DROP_TRUNCATED;
	} else {
		if (bpf_skb_load_bytes(skb, at + offsetof(struct iphdr, daddr), &ipv4,
				       sizeof(ipv4)))
			return DROP_TRUNCATED;
		addr__from_ipv4(&receiver, ipv4);
	}
	if (!addr__equal(&receiver, &p->key.saddr))
		return DROP_FOREIGN_ERROR;
	return addr__is_loopback(&p->key.daddr) ? DROP_LOOPBACK : CONTINUE;
}
