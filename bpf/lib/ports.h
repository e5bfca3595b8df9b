/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which port of the node a flow gets: its own if that is free, else one found by a walk over all of them.
 *
 * The row of the answers' direction, inserted if there is none, is the reservation: two CPUs cannot both
 * have it. Whether a socket of the node has the port is asked of the kernel. ICMP's id is a port here.
 */
#pragma once

#include <linux/errno.h>

#include "expiry.h"
#include "parse.h"
#include "taken.h"

/* Closed connections' ports are taken only after so many others were not free. */
#define PORTS_FREE_FIRST 64

/* Both rows of a translated flow, in the making: too big for the stack. */
struct pair {
	struct flow_key key;		/* of the packets that are translated on their way out */
	struct flow_key back;		/* of the answers: its dport is the port that is asked for */
	struct flow row;
	struct flow back_row;
	struct pool_key pool;
	struct bpf_sock_tuple socket;
	struct flow_key ended[2];	/* keys of another pair, which makes room */
	__u16 own_port;			/* host order */
	__u16 min;
	__u32 size;
	__u32 start;
	__s32 result;			/* CONTINUE once a port is reserved, or an outcome */
	struct pool full;		/* of the pool: how many are in use, more or less; when it was full */
};

/* Nothing: room to work in, a row per CPU. Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct pair);
} sb_pair SEC(".maps");

/* Answers: where does the next search begin? Of all destinations that share a row. Each goes on where the
 * last one ended, at the ports that have had the longest time to become free; a search from anywhere
 * would meet a hundred that are in use in a pool that is 99 % full. Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, POOL_ROWS);
	__type(key, __u32);
	__type(value, __u32);
} sb_port_cursor SEC(".maps");

static __always_inline __u32 *port__cursor(const struct pool_key *pool)
{
	__u32 row = pool__row(pool), *cursor = bpf_map_lookup_elem(&sb_port_cursor, &row);

	if (cursor && !*cursor)		/* RFC 6056 §3.3.4: nobody else knows where it begins */
		*cursor = bpf_get_prandom_u32();
	return cursor;
}

static __always_inline struct pair *pair__get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&sb_pair, &zero);
}

static __always_inline bool port__is_reserved(__u16 port)
{
	__u32 row = port / 64;
	const __u64 *bits = bpf_map_lookup_elem(&sb_reserved, &row);

	return bits && *bits >> port % 64 & 1;
}

/* Of a packet from one end to the other. How much of it is used. */
static __always_inline __u32 tuple__fill(struct bpf_sock_tuple *tuple, const struct addr *from, __be16 sport,
					 const struct addr *to, __be16 dport)
{
	if (addr__is_ipv4(from)) {
		tuple->ipv4.saddr = from->w[3];
		tuple->ipv4.daddr = to->w[3];
		tuple->ipv4.sport = sport;
		tuple->ipv4.dport = dport;
		return sizeof(tuple->ipv4);
	}
	__builtin_memcpy(tuple->ipv6.saddr, from, sizeof(*from));
	__builtin_memcpy(tuple->ipv6.daddr, to, sizeof(*to));
	tuple->ipv6.sport = sport;
	tuple->ipv6.dport = dport;
	return sizeof(tuple->ipv6);
}

/* The node itself listens there, or talks to that remote from there. */
static __always_inline bool port__has_socket(struct __sk_buff *skb, struct pair *pair)
{
	const struct flow_key *back = &pair->back;
	struct bpf_sock_tuple *tuple = &pair->socket;
	struct bpf_sock *socket;
	__u32 size;

	size = tuple__fill(tuple, &back->saddr, back->sport, &back->daddr, back->dport);
	if (back->proto == IPPROTO_TCP)
		socket = bpf_skc_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else if (back->proto == IPPROTO_UDP)
		socket = bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		return false;
	if (!socket)
		return false;
	bpf_sk_release(socket);
	return true;
}

/*
 * A client outside, who may be anybody by name, asks a backend of the node itself: that talks to the same end past
 * the service already, and would do so in the service's name.
 */
static __always_inline bool port__has_connection(struct __sk_buff *skb, struct pair *pair)
{
	const struct flow_key *back = &pair->back;
	struct bpf_sock_tuple *tuple = &pair->socket;
	struct bpf_sock *socket;
	bool is_connected;
	__u32 size;

	if (pair->row.source_incarnation || way__kind(pair->back_row.way) != WAY_STACK)
		return false;
	size = tuple__fill(tuple, &back->daddr, back->dport, &back->saddr, back->sport);
	if (back->proto == IPPROTO_TCP)
		socket = bpf_sk_lookup_tcp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		socket = bpf_sk_lookup_udp(skb, tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!socket)
		return false;
	if (back->proto == IPPROTO_TCP)
		is_connected = socket->state != BPF_TCP_LISTEN;
	else
		is_connected = socket->state == BPF_TCP_ESTABLISHED;
	bpf_sk_release(socket);
	return is_connected;
}

/* Ends a flow, by the key of either row, before its time: who opened it has one less. */
__rare int flow__end_pair(const struct flow_key *at)
{
	struct pair *room = pair__get();
	const struct flow *flow;

	if (!at || !room)
		return 0;
	room->ended[0] = *at;
	flow = flow__find(&room->ended[0]);
	return flow ? flow__remove(&room->ended[0], flow, &room->ended[1]) : 0;
}

/* Nobody needs its port any more. A reset alone may be forged: the next segment shows (flow__note). */
static __always_inline bool flow__is_over(const struct flow *flow)
{
	if (!(flow->flags & FLOW_TRANSLATED) || !flow__is_closed(flow))
		return false;
	/* Another CPU may have seen the next tick already. */
	return !(flow->flags & FLOW_RST) || (__s32)(clock__now() - READ_ONCE(flow->seen)) > 1;
}

/* `was_there`: a connection that has ended had it. */
static __always_inline bool port__try(struct __sk_buff *skb, struct pair *pair, __u16 port,
				      bool may_replace, bool *was_there)
{
	bool keeps_source = flow__keeps_source(&pair->back, &pair->back_row);
	struct flow_key *back = &pair->back;
	const struct flow *there;
	long ret;

	if (!keeps_source && (port - pair->min >= pair->size || port__is_reserved(port)))
		return false;
	back->dport = bpf_htons(port);
	if (back->icmp_class)
		back->sport = back->dport;
	there = flow__find(back);
	if (there && !(may_replace && flow__is_over(there)))
		return false;
	if (keeps_source ? port__has_connection(skb, pair) : port__has_socket(skb, pair))
		return false;
	*was_there = there;
	if (there)
		flow__end_pair(back);
	ret = flow__insert(back, &pair->back_row, BPF_NOEXIST);
	if (ret == -EEXIST)
		return false;
	pair->result = ret ? DROP_FLOWS_FULL : CONTINUE;
	return true;
}

/* The flow's own port. DROP_NO_PORT: another is to be looked for. */
__rare int port__keep(struct __sk_buff *skb, const struct config *config)
{
	struct pair *pair = pair__get();
	const struct pool *pool;
	bool was_there;

	if (!pair || !config || config->port_max < config->port_min)
		return DROP_NO_PORT;
	pair->pool.saddr = pair->back.daddr;
	pair->pool.daddr = pair->back.saddr;
	pair->pool.dport = pair->key.icmp_class ? 0 : pair->back.sport;
	pair->pool.proto = pair->key.proto;
	pool = bpf_map_lookup_elem(&sb_pools, &pair->pool);
	pair->full.full = pool ? pool->full : 0;
	pair->full.used = pool__in_use(&pair->pool, pool);
	pair->own_port = bpf_ntohs(pair->key.sport);
	pair->min = config->port_min;
	pair->size = config->port_max - config->port_min + 1;
	pair->result = DROP_NO_PORT;
	port__try(skb, pair, pair->own_port, false, &was_there);
	return pair->result;
}

/* Found full in this tick already. */
static __always_inline bool pair__is_out_of_ports(const struct pair *pair)
{
	return !pair->size || pair->full.full == clock__now();
}

struct port_scan {
	struct __sk_buff *skb;
	struct pair *pair;
	struct taken *taken;
	__u32 first;			/* words that have ports of the range */
	__u32 words;
	__u32 from;			/* what pair->start was: how far it has come is a number in a map, for no
					 * verifier to follow */
};

/* The ports of a word that may be free. */
static __always_inline __u64 port__free_of(const struct port_scan *scan, __u32 word)
{
	const __u64 *bits = taken__word(scan->taken, word), *reserved;
	__u32 first = word * 64, min = scan->pair->min, last = min + scan->pair->size - 1;
	__u64 free;

	reserved = bpf_map_lookup_elem(&sb_reserved, &word);
	if (!bits || !reserved)
		return 0;
	free = ~(READ_ONCE(*bits) | *reserved);
	if (first < min)
		free &= ~0ULL << (min - first);
	if (last - first < 63)
		free &= ~0ULL >> (63 - (last - first));
	return free;
}

static long port__visit_word(__u32 index, struct port_scan *scan)
{
	struct pair *pair = scan->pair;
	bool was_there;
	__u64 free;
	__u32 word;
	__u16 port;

	if (pair->start - scan->from >= scan->words)
		return 1;
	word = scan->first + (__u64)pair->start * PORTS_STRIDE % scan->words;
	free = port__free_of(scan, word);
	if (!free) {
		pair->start++;
		return 0;
	}
	port = word * 64 + bits__any(free);
	if (port__try(scan->skb, pair, port, false, &was_there))
		return 1;
	taken__add(scan->taken, port);		/* and the same word once more */
	return 0;
}

/* By what is known of a pool that fills up. DROP_NO_PORT: nothing, or none that is free. */
__rare int port__find(struct __sk_buff *skb)
{
	struct port_scan scan = { .skb = skb };
	struct pair *pair = pair__get();
	__u32 *cursor;

	if (!pair || pair__is_out_of_ports(pair) ||
	    !taken__is_worth(pair->full.used, pair->min, pair->size))
		return DROP_NO_PORT;
	scan.taken = bpf_map_lookup_elem(&sb_taken, &pair->pool);
	if (!scan.taken)
		return DROP_NO_PORT;
	scan.pair = pair;
	scan.first = pair->min / 64;
	scan.words = (pair->min + pair->size - 1) / 64 - scan.first + 1;
	cursor = port__cursor(&pair->pool);
	scan.from = cursor ? *cursor : 0;
	pair->start = scan.from;
	bpf_loop(scan.words + pair->size, port__visit_word, &scan, 0);
	if (cursor && pair->result != DROP_NO_PORT)
		*cursor = pair->start + 1;
	return pair->result;
}

struct port_walk {
	struct __sk_buff *skb;
	struct pair *pair;
	__u32 free_first;		/* so many tries for one that nobody has */
	bool was_there;
};

static long port__visit(__u32 index, struct port_walk *walk)
{
	struct pair *pair = walk->pair;
	__u16 port = pair->min + ((__u64)pair->start + index) * PORTS_STRIDE % pair->size;

	return port__try(walk->skb, pair, port,
			 pair->back.proto == IPPROTO_TCP &&
				 (index >= walk->free_first || index >= pair->size),
			 &walk->was_there);
}

/* All of them are in use: noted, so that the next packets do not search again before the clock moves on. */
static __always_inline void pool__note_full(struct pair *pair)
{
	struct pool *pool = bpf_map_lookup_elem(&sb_pools, &pair->pool);

	if (pool) {
		__sync_fetch_and_add(&pool->failed, 1);
		pool->full = clock__now();
		return;
	}
	pair->full.used = 0;
	pair->full.full = clock__now();
	pair->full.failed = 1;
	bpf_map_update_elem(&sb_pools, &pair->pool, &pair->full, BPF_NOEXIST);
}

/* By asking for each of them. */
__rare int port__search(struct __sk_buff *skb)
{
	struct port_walk walk = { .skb = skb, .free_first = PORTS_FREE_FIRST };
	struct pair *pair = pair__get();
	__u32 tried, *cursor;
	bool is_known;

	if (!pair || !pair->size)
		return DROP_NO_PORT;
	if (!pair__is_out_of_ports(pair)) {
		walk.pair = pair;
		is_known = bpf_map_lookup_elem(&sb_taken, &pair->pool);
		if (is_known)
			walk.free_first = 0;
		cursor = port__cursor(&pair->pool);
		pair->start = cursor ? *cursor : 0;
		/* Once round; and on, until closed ones have been asked for everywhere. */
		tried = bpf_loop(pair->size + walk.free_first, port__visit, &walk, 0);
		if (cursor)
			*cursor = pair->start + tried;
		/* What is known is not so: it is learned anew. */
		if (is_known && pair->result == CONTINUE && !walk.was_there)
			bpf_map_delete_elem(&sb_taken, &pair->pool);
	}
	if (pair->result == DROP_NO_PORT)
		pool__note_full(pair);
	return pair->result;
}

/*
 * Writes the row of the answers' direction of the pair in the making, under a port that nobody has, which is
 * pair->back.dport then. CONTINUE, DROP_NO_PORT or DROP_FLOWS_FULL. Its steps are called one after the other, for
 * the sake of the stack.
 */
static __always_inline int port__reserve(struct __sk_buff *skb, const struct config *config)
{
	int outcome = port__keep(skb, config);

	if (outcome == DROP_NO_PORT)
		outcome = port__find(skb);
	return outcome == DROP_NO_PORT ? port__search(skb) : outcome;
}
