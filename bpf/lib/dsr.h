/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Direct server return, at the node that is asked: a client's packets for a pod of another node go there as
 * the client sent them, in the tunnel under a VNI of their own, and that node answers (dsr_arrive.h). Nobody
 * reads inner Ethernet addresses on that way: they say which backend was chosen (ADR 0090).
 */
#pragma once

#include "client.h"
#include "flows.h"
#include "overlay.h"
#include "services.h"

/* Services with more backends are not forwarded so: who gets the packet looks the backend up in the list. */
#define DSR_BACKENDS_MAX 1024

/* In place of the Ethernet addresses. Of IPv4 the source is 00:00:00:00:ff:ff. */
struct dsr_backend {
	__u8 low[4];			/* the last bytes of its address */
	__be16 port;
	__u8 middle[6];			/* those before; the ones before these are found in the list */
};
_Static_assert(sizeof(struct dsr_backend) == 2 * ETH_ALEN, "dsr_backend");

struct dsr_search {
	struct dsr_backend wanted;
	struct addr exactly;		/* all zero: a pod of this node */
	__u32 list;
	struct addr found;		/* all zero: none */
};

static __always_inline void dsr_backend__of(struct dsr_backend *to, const struct addr *addr, __be16 port)
{
	__builtin_memcpy(to->low, &addr->b[12], sizeof(to->low));
	to->port = port;
	__builtin_memcpy(to->middle, &addr->b[6], sizeof(to->middle));
}

static __always_inline bool dsr_backend__is(const struct dsr_backend *wanted, const struct addr *addr,
					    __be16 port)
{
	return !__builtin_memcmp(wanted->low, &addr->b[12], sizeof(wanted->low)) &&
	       wanted->port == port &&
	       !__builtin_memcmp(wanted->middle, &addr->b[6], sizeof(wanted->middle));
}

static long dsr__compare(__u32 index, struct dsr_search *search)
{
	const struct backend *backend = backend__find(list__backend_at(search->list, index + 1));

	if (!backend || !dsr_backend__is(&search->wanted, &backend->addr, backend->port))
		return 0;
	/* Pods of several nodes may end in the same ten bytes. */
	if (addr__is_zero(&search->exactly) ? !endpoint__is_pod(endpoint__find(&backend->addr)) :
					      !addr__equal(&search->exactly, &backend->addr))
		return 0;
	search->found = backend->addr;
	return 1;
}

/* Of a list that has grown too long by now, among the first of it. */
static __always_inline bool dsr__look_up(struct dsr_search *search)
{
	__u32 backends = list__backend_at(search->list, 0);

	bpf_loop(backends < DSR_BACKENDS_MAX ? backends : DSR_BACKENDS_MAX, dsr__compare, search, 0);
	return !addr__is_zero(&search->found);
}

/* Without a tunnel only nodes that are told to go so have a device for it. */
static __always_inline bool dsr__is_taken_by(const struct node *node, const struct config *config)
{
	return node && (!(config->flags & CONFIG_NATIVE) || node->flags & NODE_TAKES_DSR);
}

/* May what this packet begins, and would go to the backend's node by `way`, go so? A node that asks, or whose pod does
 * (without a tunnel), may be the one that has the backend, and takes nothing from there in names of its own. */
__rare int dsr__is_for(const struct packet *p, const struct config *config, __u64 way)
{
	const struct service *service;

	if (!p || !config || !(config->flags & CONFIG_DSR) || !config->overlay_ifindex ||
	    node__id_of(&p->key.saddr) || ipcache__remote_node(&p->key.saddr, config->own_node))
		return false;
	if (!dsr__is_taken_by(node__find(way__node(way)), config))
		return false;
	service = service__find(&p->key.daddr, p->key.dport, p->key.proto);
	return service && list__backend_at(service->external, 0) <= DSR_BACKENDS_MAX;
}

/* In place of the way to the backend's node; 0 if it can go so no more. */
static __always_inline __u64 dsr__way(__u64 way, const struct config *config)
{
	if (!config->overlay_ifindex || !dsr__is_taken_by(node__find(way__node(way)), config))
		return 0;
	return way__make(WAY_DSR, way__node(way), way__generation(way));
}

/* Outer IP, UDP, VXLAN and inner Ethernet header (RFC 7348 §5). */
#define DSR_OVERHEAD_IPV4 50
#define DSR_OVERHEAD_IPV6 70

/* Without a tunnel the way to the node's pods is wider than what goes so. */
static __always_inline __u32 dsr__mtu(const struct node *node, const struct config *config)
{
	if (!(config->flags & CONFIG_NATIVE) || !node->mtu)
		return node->mtu;
	return node->mtu - (addr__is_ipv4(&node->tunnel) ? DSR_OVERHEAD_IPV4 : DSR_OVERHEAD_IPV6);
}

/*
 * Without a tunnel the kernel's routes to backends are wider, and it would forward what it is to tell the client
 * about. It gets that for an address whose route is narrow enough (ADR 0093): 192.0.0.8, which nobody has (RFC 7600),
 * and 100::8, where nobody is (RFC 6666).
 */
static __always_inline void dsr__narrow(struct addr *addr, bool is_ipv6)
{
	if (!is_ipv6) {
		addr__from_ipv4(addr, bpf_htonl(0xc0000008));
		return;
	}
	addr->w[0] = bpf_htonl(0x01000000);
	addr->w[1] = 0;
	addr->w[2] = 0;
	addr->w[3] = bpf_htonl(8);
}

/* A SYN on a row that lives, as after a reset that went past here, and by now the backend has left the service:
 * perhaps nobody is there. Of a list too long to be looked through nobody knows. */
__rare int dsr__is_in_vain(const struct packet *p, const struct flow *flow)
{
	struct dsr_search search = {};
	const struct service *service;

	if (!p || !flow || packet__is_midstream(p) || p->key.proto != IPPROTO_TCP)
		return false;
	service = service__find(&p->key.daddr, p->key.dport, p->key.proto);
	if (!service)
		return true;
	search.exactly = flow->to.daddr;
	dsr_backend__of(&search.wanted, &search.exactly, flow->to.dport);
	search.list = service->external;
	return list__backend_at(search.list, 0) <= DSR_BACKENDS_MAX && !dsr__look_up(&search);
}

/* As the client sent it, but for one hop. PASS_NODE, or what else became of it. */
__rare int dsr__send(struct __sk_buff *skb, const struct packet *p, const struct config *config,
		     const struct node *node, const struct flow *flow)
{
	void *data;
	int outcome;

	if (!p || !config || !node || !flow || !config->overlay_ifindex)
		return DROP_NO_NODE;
	outcome = hop__count(skb, p);
	if (outcome != CONTINUE)
		return outcome;
	if (!hop__add_ethernet(skb))
		return DROP_TRUNCATED;
	data = (void *)(long)skb->data;
	if (data + ETH_HLEN > (void *)(long)skb->data_end)
		return DROP_TRUNCATED;
	dsr_backend__of(data, &flow->to.daddr, flow->to.dport);
	outcome = overlay__encapsulate(skb, p, config, node, config->vni ^ DSR_VNI);
	return outcome == CONTINUE ? overlay__redirect(skb, config) : outcome;
}
