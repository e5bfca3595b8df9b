/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which service is asked for, and which backend answers: asked once per connection, by sockets (connect) or by
 * the first packet of a flow. What then becomes of the packet is said elsewhere.
 */
#pragma once

#include "addr.h"
#include "clock.h"
#include "config.h"
#include "endpoints.h"

/* Answers: is this address and port a service's? Written by the agent, after the rows it leads to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct service_key);
	__type(value, struct service);
} sb_services SEC(".maps");

/* Answers: which backends are in this list? Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 524288);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct slot_key);
	__type(value, struct slot);
} sb_slots SEC(".maps");

/* Answers: where is this backend? Written by the agent: a row comes before the first slot that names it, and
 * goes after the last. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct backend);
} sb_backends SEC(".maps");

/* Answers: may this source ask this service from outside? Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct source_range_key);
	__type(value, __u32);
} sb_src_ranges SEC(".maps");

/* Answers: which backend did this client have? Written by the programs; an LRU, since a lost row only means
 * that the client gets another backend. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct affinity_key);
	__type(value, struct affinity);
} sb_affinity SEC(".maps");

/* Answers: what of the node do services need to know? Written by the agent. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct service_config);
} sb_svc_config SEC(".maps");

/* Nobody serves it. Every other id is of a backend. */
#define BACKEND_NONE 0

static __always_inline const struct service_config *service_config__get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sb_svc_config, &zero);
}

/* The address that stands for those of the node, of the same family. */
static __always_inline void addr__any(struct addr *to, const struct addr *of)
{
	to->w[0] = 0;
	to->w[1] = 0;
	to->w[2] = addr__is_ipv4(of) ? bpf_htonl(0xffff) : 0;
	to->w[3] = 0;
}

/* NULL: it is no service's. A row of SERVICE_ADDRESS: the address is one's, the port nobody's. */
static __always_inline const struct service *service__find(const struct addr *addr, __be16 port, __u8 proto)
{
	struct service_key key = { .addr = *addr, .port = port, .proto = proto };
	const struct service *service = bpf_map_lookup_elem(&sb_services, &key);
	const __u32 *own;

	if (service)	/* by all zero only those are found that stand for others */
		return unlikely(!addr->w[3] && !addr->w[0] && !addr->w[1]) ? NULL : service;
	own = node_addr__find(addr);
	if (own) {
		addr__any(&key.addr, addr);
		service = bpf_map_lookup_elem(&sb_services, &key);
		if (!service)
			return NULL;
		return *own & (service->flags & SERVICE_HOST_PORT ? NODE_ADDR_HOST_PORTS :
								    NODE_ADDR_NODE_PORTS) ?
			       service : NULL;
	}
	key.port = 0;
	key.proto = 0;
	return bpf_map_lookup_elem(&sb_services, &key);
}

/* The same of an address that is another node's: every node has the same node ports. */
static __always_inline const struct service *service__find_node_port(const struct addr *addr, __be16 port,
								     __u8 proto)
{
	struct service_key key = { .port = port, .proto = proto };
	const struct service *service;

	addr__any(&key.addr, addr);
	service = bpf_map_lookup_elem(&sb_services, &key);
	return service && !(service->flags & SERVICE_HOST_PORT) ? service : NULL;
}

static __always_inline const struct backend *backend__find(__u32 id)
{
	return bpf_map_lookup_elem(&sb_backends, &id);
}

static __always_inline bool list__has(__u32 list, __u32 backend)
{
	struct slot_key key = { .list = list, .slot = SLOT_MEMBER | backend };

	return bpf_map_lookup_elem(&sb_slots, &key);
}

static __always_inline __u32 list__backend_at(__u32 list, __u32 at)
{
	struct slot_key key = { .list = list, .slot = at };
	const struct slot *slot = bpf_map_lookup_elem(&sb_slots, &key);

	return slot ? slot->backend : 0;
}

/* One by chance. The list may shrink under us: then its first one, which goes last. */
static __always_inline __u32 list__pick(__u32 list)
{
	__u32 backends = list__backend_at(list, 0), backend;

	if (!backends)
		return BACKEND_NONE;
	backend = list__backend_at(list, bpf_get_prandom_u32() % backends + 1);
	return likely(backend) ? backend : list__backend_at(list, 1);
}

/* That one if the list has it, else one by chance. */
static __always_inline __u32 list__choose(__u32 list, __u32 preferred)
{
	return preferred && list__has(list, preferred) ? preferred : list__pick(list);
}

/*
 * The backend of a new connection: BACKEND_NONE if there is none, else an id. `client` is by address or by
 * namespace, with its `service` filled in here if it is to keep that (service__keep); who has no backend yet gets
 * `preferred`, if that is not BACKEND_NONE.
 */
static __always_inline __u32 service__pick(const struct service *service, __u32 list,
					   struct affinity_key *client, __u32 preferred)
{
	const struct affinity *known;

	if (likely(!(service->flags & SERVICE_AFFINITY)))
		return list__choose(list, preferred);
	client->service = service->id;
	known = bpf_map_lookup_elem(&sb_affinity, client);
	if (known && clock__now() - known->seen < clock__ticks(service->affinity_sec, clock__hz()) &&
	    list__has(list, known->backend))
		return known->backend;
	return list__choose(list, preferred);
}

/* Once the connection is sure to be: those of a flood that are refused take nobody's place. */
static __always_inline void service__keep(const struct affinity_key *client, __u32 backend)
{
	struct affinity mine = { .backend = backend, .seen = clock__now() };

	bpf_map_update_elem(&sb_affinity, client, &mine, BPF_ANY);
}

static __always_inline bool service__admits(const struct service *service, const struct addr *source)
{
	struct source_range_key key = {
		.prefix_len = 32 + 128,
		.service = service->id,
		.addr = *source,
	};

	return !(service->flags & SERVICE_SOURCE_RANGES) || bpf_map_lookup_elem(&sb_src_ranges, &key);
}
