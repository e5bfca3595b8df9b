/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The backend of a packet that begins a flow to a service, or why it gets none. */
#pragma once

#include "icmp_error.h"
#include "ipcache.h"
#include "maglev.h"
#include "outside.h"
#include "services.h"
#include "verdict.h"

/* Answers of the functions below, besides outcomes and CONTINUE. */
#define SERVICE_NONE (-2)		/* it is no service's */
#define SERVICE_ENDED (-3)		/* the flow has ended: what comes now is another one's first packet */

/* A service's flow in the making, or an error about one: too big for the stack. */
struct serving {
	struct packet packet;		/* as its backend gets it */
	struct opening opening;		/* both rows; is_known and source_node are not looked at */
	struct way_out out;
	__u32 mtu;			/* of the uplink, where one of the rows is of WAY_OUT */
	__u32 back_mtu;
	struct affinity_key client;	/* who keeps its backend; its service is 0 of who does not */
	__u32 backend;
	struct icmp_error error;
};

/* Nothing: room to work in, a row per CPU. Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct serving);
} sb_serving SEC(".maps");

static __always_inline struct serving *serving__get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sb_serving, &zero);
}

/* Nobody serves it: our rules in the stack tell whoever sent it. */
static __always_inline int service_flow__refuse(struct __sk_buff *skb)
{
	skb->mark |= SB_REFUSE;
	return PASS_REFUSED;
}

/* No service has that address and port. Of a range of service addresses somebody must. */
static __always_inline int service_flow__is_nobodys(const struct addr *addr)
{
	struct service_key key = { .addr = *addr };

	if (!ipcache__is_service(addr))
		return SERVICE_NONE;
	/* Of a protocol that we leave to the stack, perhaps. */
	return bpf_map_lookup_elem(&sb_services, &key) ? SERVICE_NONE : DROP_SERVICE_ADDRESS;
}

/* Some service has it. Node ports are not meant: the node's addresses are more than that. */
static __always_inline bool service_flow__is_address(const struct addr *addr)
{
	struct service_key key = { .addr = *addr };

	return bpf_map_lookup_elem(&sb_services, &key) || ipcache__is_service(addr);
}

/* The backend that every node has for that client from outside. BACKEND_NONE: none, or not known yet. */
static __always_inline __u32 service_flow__agreed(const struct packet *p, const struct service *service,
						  bool is_outside)
{
	if (!is_outside || !(service->flags & SERVICE_MAGLEV))
		return BACKEND_NONE;
	return maglev__find(service->id, maglev__hash(&p->key, service->flags & SERVICE_AFFINITY));
}

/*
 * Which backend gets a first packet: CONTINUE with serving->packet, SERVICE_NONE, or an outcome. The middle of
 * a connection that nobody has a row of was a pod's until its backend went: the pod is told so. From outside it
 * may be anybody's; unless all nodes agree on the backend: then it came by another one until now, or has rested
 * for long.
 */
__rare int service_flow__pick(struct __sk_buff *skb, const struct packet *p, bool is_outside)
{
	struct serving *serving = serving__get();
	const struct service *service;
	const struct backend *backend;
	__u32 list, agreed, id;

	if (!serving || !p)
		return DROP_NOT_READY;
	serving->client.service = 0;
	if (p->key.proto != IPPROTO_TCP && p->key.proto != IPPROTO_UDP)
		return service_flow__is_nobodys(&p->key.daddr);
	service = service__find(&p->key.daddr, p->key.dport, p->key.proto);
	if (!service)
		return service_flow__is_nobodys(&p->key.daddr);
	list = is_outside ? service->external : service->internal;
	agreed = service_flow__agreed(p, service, is_outside);
	if (packet__is_midstream(p) && (!agreed || !list__has(list, agreed)))
		return is_outside ? SERVICE_NONE : service_flow__refuse(skb);
	if (service->flags & SERVICE_ADDRESS)
		return service_flow__refuse(skb);
	/* Who asks from outside was asked before. */
	if (!is_outside && unlikely(!service__admits(service, &p->key.saddr)))
		return DROP_SOURCE_RANGE;
	serving->client.client = p->key.saddr;
	serving->client.kind = CLIENT_ADDRESS;
	id = service__pick(service, list, &serving->client, agreed);
	if (!id && service->flags & (is_outside ? SERVICE_EXTERNAL_LOCAL : SERVICE_INTERNAL_LOCAL))
		return DROP_NO_LOCAL_BACKEND;
	backend = backend__find(id);
	if (!backend || addr__is_ipv4(&backend->addr) != addr__is_ipv4(&p->key.daddr) ||
	    addr__is_untracked(&backend->addr))
		return service_flow__refuse(skb);
	serving->backend = id;
	serving->packet = *p;
	serving->packet.key.daddr = backend->addr;
	serving->packet.key.dport = backend->port;
	return CONTINUE;
}
