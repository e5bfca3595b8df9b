/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A pass over the flow table, made by whoever reads this iterator: removes what has expired inside the kernel,
 * where a row and its idle time are looked at in the same moment, and counts what is left.
 *
 * A read ends after SLICE_ROWS rows: from a thread of its own a pass of any length disturbs nobody. Between
 * two reads the reader may be gone for ever; the next pass begins anew (ADR 0075).
 */
#include "bpf.h"
#include "expiry.h"
#include "services.h"
#include "taken.h"

/* Rows of one read: 1 to 3 ms. */
#define SLICE_ROWS 4096

/* The kernel's own, of which a program may read what is named here. */
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct flow_key *key;
	struct flow *value;
} __attribute__((preserve_access_index));

/* Answers: what has the pass under way found so far? Written by sb_sweep. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct sweep);
} sb_sweep_pass SEC(".maps");

static long opened__forget(void *map, const __u32 *row, __u32 *opened, void *context)
{
	*opened = 0;
	return 0;
}

static long taken__forget(void *map, const struct pool_key *key, struct taken *taken, void *context)
{
	__u32 i;

	for (i = 0; i < TAKEN_WORDS; i++)
		WRITE_ONCE(taken->words[i], 0);
	return 0;
}

/* Which ports there are. */
struct range {
	__u32 min;
	__u32 size;
};

static __always_inline struct range range__get(void)
{
	const struct config *config = config__get();
	struct range none = {}, range;

	if (!config || config->port_max < config->port_min)
		return none;
	range.min = config->port_min;
	range.size = config->port_max - config->port_min + 1;
	return range;
}

/* Of pools that are not half as full any more as to be worth it. */
static long taken__settle(void *map, struct pool_key *key, struct taken *taken, const struct range *range)
{
	__u32 in_use = pool__in_use(key, bpf_map_lookup_elem(&sb_pools, key));

	if (!taken__is_worth(2 * in_use, range->min, range->size))
		bpf_map_delete_elem(&sb_taken, key);
	return 0;
}

static long pool__forget(void *map, const struct pool_key *key, struct pool *pool, void *context)
{
	pool->recount = 0;
	return 0;
}

/* A destination that nobody talks to and that never failed is not worth a row. */
static long pool__settle(void *map, struct pool_key *key, struct pool *pool, void *context)
{
	pool->used = pool->recount;
	if (!pool->used && !pool->failed)
		bpf_map_delete_elem(&sb_pools, key);
	return 0;
}

/* A row of the answers' direction, whose destination is the port that is in use. */
static __always_inline void pool__recount(const struct flow_key *back)
{
	struct range range = range__get();
	struct pool_key key = {
		.saddr = back->daddr,
		.daddr = back->saddr,
		.dport = back->icmp_class ? 0 : back->sport,
		.proto = back->proto,
	};
	struct pool first = { .recount = 1 }, *pool = bpf_map_lookup_elem(&sb_pools, &key);

	if (!pool) {
		bpf_map_update_elem(&sb_pools, &key, &first, BPF_NOEXIST);
		return;
	}
	pool->recount++;
	if (taken__is_worth(pool->used > pool->recount ? pool->used : pool->recount, range.min, range.size))
		taken__note(&key, bpf_ntohs(back->dport));
}

/* -- Datagrams to a service follow its list: connections stay where they are. -- */

/* Answers: which backend has this address and port? Written by sb_sweep, an LRU: who is not in it is looked for in
 * the whole list. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct service_key);
	__type(value, __u32);
} sb_backend_ids SEC(".maps");

struct backend_search {
	const struct service_key *end;
	__u32 list;
	__u32 found;			/* BACKEND_NONE: none of the list */
};

/* Longer lists are not looked through. */
#define STALE_BACKENDS_MAX 4096

static __always_inline bool backend__is_at(const struct backend *backend, const struct service_key *end)
{
	return backend && backend->port == end->port && addr__equal(&backend->addr, &end->addr);
}

static long backend__compare(__u32 index, struct backend_search *search)
{
	__u32 id = list__backend_at(search->list, index + 1);

	if (!backend__is_at(backend__find(id), search->end))
		return 0;
	search->found = id;
	return 1;
}

/* The list of a UDP service has a backend at that address and port, or may have one. */
static __always_inline bool list__may_have(__u32 list, const struct service_key *end)
{
	struct backend_search search = { .end = end, .list = list };
	const __u32 *known = bpf_map_lookup_elem(&sb_backend_ids, end);
	__u32 backends;

	if (likely(known && backend__is_at(backend__find(*known), end)))
		return list__has(list, *known);
	backends = list__backend_at(list, 0);
	if (backends > STALE_BACKENDS_MAX)
		return true;
	bpf_loop(backends, backend__compare, &search, 0);
	if (search.found) {
		bpf_map_update_elem(&sb_backend_ids, end, &search.found, BPF_ANY);
		return true;
	}
	/* A list that shrinks under us moves its last one. */
	return backends != list__backend_at(list, 0);
}

/* A flow of datagrams whose service is gone, or whose backend is none of it any more. */
__rare int flow__is_stale(const struct flow_key *key, const struct flow *flow)
{
	const struct config *config = config__get();
	struct service_key backend = {};
	const struct service *service;

	if (!key || !flow || !config || !(config->flags & CONFIG_SERVICES))
		return false;
	if (key->proto != IPPROTO_UDP ||
	    (flow->flags & (FLOW_SERVICE | FLOW_OPENER)) != (FLOW_SERVICE | FLOW_OPENER))
		return false;
	backend.addr = flow->to.daddr;
	backend.port = flow->to.dport;
	backend.proto = key->proto;
	/* It has stepped aside for one to a service: ADR 0077. */
	if (backend.port == key->dport && addr__equal(&backend.addr, &key->daddr))
		return false;
	service = service__find(&key->daddr, key->dport, key->proto);
	/* Another node was asked, perhaps, and sent it on. */
	if (!service && !flow->source_incarnation && !node_addr__find(&key->daddr))
		service = service__find_node_port(&key->daddr, key->dport, key->proto);
	if (!service || service->flags & SERVICE_ADDRESS)
		return true;
	return !list__may_have(flow->source_incarnation ? service->internal : service->external, &backend);
}

static __always_inline void begin(struct sweep *pass, __u64 session)
{
	const struct opened *opened = opened__get();
	__s32 max = openers__flows_max();

	__builtin_memset(pass, 0, sizeof(*pass));
	pass->session = session;
	pass->hz = clock__hz();
	pass->is_pressed = opened && (__s32)opened->flows > max - max / 8;
	openers__begin_recount();
	bpf_for_each_map_elem(&sb_pools, pool__forget, NULL, 0);
	bpf_for_each_map_elem(&sb_port_opened, opened__forget, NULL, 0);
	bpf_for_each_map_elem(&sb_taken, taken__forget, NULL, 0);
}

static __always_inline void end(struct sweep *pass)
{
	struct range range = range__get();

	openers__end_recount();
	bpf_for_each_map_elem(&sb_pools, pool__settle, NULL, 0);
	bpf_for_each_map_elem(&sb_taken, taken__settle, &range, 0);
	pass->is_done = true;
}

static __always_inline void visit(struct sweep *pass, const struct flow_key *key,
				  const struct flow *flow)
{
	struct expiry expiry = {
		.timeouts = timeouts__get(),
		.hz = pass->hz,
		.is_pressed = pass->is_pressed,
		.is_recount = true,
		.is_stale = flow__is_stale(key, flow),
	};
	__u32 removed;

	removed = expiry.timeouts ? expiry__judge(key, flow, &expiry) : 0;
	pass->removed += removed;
	pass->rows += removed ? removed : 1;
	if (removed)
		return;
	openers__recount(key, flow);
	if (flow__is_closed(flow))
		pass->closed++;
	if (!(flow->flags & FLOW_TRANSLATED))
		return;
	pass->translated++;
	if (!(flow->flags & FLOW_OPENER) && !flow__keeps_source(key, flow))
		pool__recount(key);
}

SEC("iter/bpf_map_elem")
int sb_sweep(struct bpf_iter__bpf_map_elem *context)
{
	__u32 zero = 0;
	struct sweep *pass = bpf_map_lookup_elem(&sb_sweep_pass, &zero);
	struct bpf_iter_meta *meta = context->meta;
	const struct flow_key *at = context->key;	/* both are NULL at the end */
	const struct flow *flow = context->value;
	struct flow_key key;
	__u32 before;

	if (!pass)
		return 0;
	if (pass->session != meta->session_id) {
		if (meta->seq_num)
			return 0;	/* a later pass has begun: it counts what this one would */
		begin(pass, meta->session_id);
	}
	if (at && flow) {
		key = *at;
		before = pass->rows;
		visit(pass, &key, flow);
		if (before / SLICE_ROWS == pass->rows / SLICE_ROWS)
			return 0;
	} else {
		end(pass);
	}
	pass->now = clock__now();
	bpf_seq_write(meta->seq, pass, sizeof(*pass));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
