/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Consistent hashing (Maglev, NSDI 2016): which backend of a service gets a client, the same on every node that
 * has the same backends. The agent makes the tables (agent/src/services/maglev/); here a client is looked up.
 */
#pragma once

#include "bpf.h"
#include "parse.h"

/*
 * Answers: which backend gets a client that asks this service from outside? By service id; row 0 of a table
 * says how many entries the rows behind it have. A table never changes: another takes its place, whole.
 * Written by the agent.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_ARRAY);
		__uint(max_entries, 1);
		__uint(map_flags, BPF_F_INNER_MAP);	/* tables are of different lengths */
		__type(key, __u32);
		__type(value, __u32[MAGLEV_ROW]);
	});
} sb_maglev SEC(".maps");

/* One round of MurmurHash3 (x86, 32 bits; Austin Appleby, public domain). */
static __always_inline __u32 maglev__mix(__u32 hash, __u32 word)
{
	word *= 0xcc9e2d51;
	word = word << 15 | word >> 17;
	hash ^= word * 0x1b873593;
	return (hash << 13 | hash >> 19) * 5 + 0xe6546b64;
}

/*
 * The same of a connection on every node. The address it asks is left out: a node port has another one on each
 * node. Of a client that is to keep its backend, the port too. bpf/src/maglev.ts says the same.
 */
static __always_inline __u32 maglev__hash(const struct flow_key *key, bool is_by_address)
{
	__u32 hash = key->proto;

	hash = maglev__mix(hash, bpf_ntohl(key->saddr.w[0]));
	hash = maglev__mix(hash, bpf_ntohl(key->saddr.w[1]));
	hash = maglev__mix(hash, bpf_ntohl(key->saddr.w[2]));
	hash = maglev__mix(hash, bpf_ntohl(key->saddr.w[3]));
	hash = maglev__mix(hash, (is_by_address ? 0 : (__u32)bpf_ntohs(key->sport) << 16) |
					 bpf_ntohs(key->dport));
	hash ^= 20;	/* bytes */
	hash = (hash ^ hash >> 16) * 0x85ebca6b;
	hash = (hash ^ hash >> 13) * 0xc2b2ae35;
	return hash ^ hash >> 16;
}

/* Id of a backend, which may have left the service by now. 0: there is no table. */
static __always_inline __u32 maglev__find(__u32 service, __u32 hash)
{
	void *table = bpf_map_lookup_elem(&sb_maglev, &service);
	__u32 at = 0, size;
	const __u32 *row;

	if (!table)
		return 0;
	row = bpf_map_lookup_elem(table, &at);
	if (!row)
		return 0;
	size = row[0];
	if (!size)
		return 0;
	hash %= size;
	at = 1 + hash / MAGLEV_ROW;
	row = bpf_map_lookup_elem(table, &at);
	return row ? row[hash % MAGLEV_ROW] : 0;
}
