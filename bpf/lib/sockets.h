/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What sockets remember of the services they asked, so that answers and names are the services' again.
 *
 * It lies with the socket and goes with it. Only an unconnected UDP socket that asks a second service has rows
 * outside of it.
 */
#pragma once

#include "services.h"

/* Answers: which service did this socket ask, and who answers in its place? Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct sock_peer);
} sb_sock SEC(".maps");

/* Answers: the same of the further services of an unconnected UDP socket. Written by the programs; an LRU: a lost
 * row means another backend, and that answers under way come in the backend's name. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct udp_peer_key);
	__type(value, struct udp_peer);
} sb_sock_udp SEC(".maps");

/* An address and a port, as a call names them or is told them. */
struct end {
	struct addr addr;
	__be16 port;
};

static __always_inline bool end__is(const struct end *end, const struct addr *addr, __be16 port)
{
	return end->port == port && addr__equal(&end->addr, addr);
}

static __always_inline bool sock_peer__has_backend(const struct sock_peer *a, const struct sock_peer *b)
{
	return a->backend_port == b->backend_port && addr__equal(&a->backend, &b->backend);
}

/* NULL: it asked none, or none of late. */
static __always_inline struct sock_peer *socket__peer(struct bpf_sock_addr *ctx)
{
	return bpf_sk_storage_get(&sb_sock, ctx->sk, NULL, 0);
}

/* Without memory for it the socket works, and its process sees the backend. */
static __always_inline void socket__set_peer(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	struct sock_peer *kept;

	kept = bpf_sk_storage_get(&sb_sock, ctx->sk, (void *)peer, BPF_SK_STORAGE_GET_F_CREATE);
	if (likely(kept))
		*kept = *peer;
}

static __always_inline void udp_peer__key(struct udp_peer_key *key, struct bpf_sock_addr *ctx,
					  const struct addr *addr, __be16 port, bool is_backend)
{
	key->cookie = bpf_get_socket_cookie(ctx);
	key->addr = *addr;
	key->port = port;
	key->is_backend = is_backend;
}

/* What is said in the name of the backend is the service's. */
static __always_inline void udp_peer__set_back(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	struct udp_peer value = {
		.addr = peer->service,
		.port = peer->service_port,
		.service_id = peer->service_id,
		.backend_id = peer->backend_id,
	};
	struct udp_peer_key key = {};
	const struct udp_peer *known;

	udp_peer__key(&key, ctx, &peer->backend, peer->backend_port, true);
	known = bpf_map_lookup_elem(&sb_sock_udp, &key);
	if (likely(known && known->service_id == value.service_id && known->port == value.port &&
		   addr__equal(&known->addr, &value.addr)))
		return;
	bpf_map_update_elem(&sb_sock_udp, &key, &value, BPF_ANY);
}

/* What is sent to the service goes to the backend. */
static __always_inline void udp_peer__set(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	struct udp_peer value = {
		.addr = peer->backend,
		.port = peer->backend_port,
		.service_id = peer->service_id,
		.backend_id = peer->backend_id,
	};
	struct udp_peer_key key = {};

	udp_peer__key(&key, ctx, &peer->service, peer->service_port, false);
	bpf_map_update_elem(&sb_sock_udp, &key, &value, BPF_ANY);
	udp_peer__set_back(ctx, peer);
}

static __always_inline const struct udp_peer *udp_peer__find(struct bpf_sock_addr *ctx,
							     const struct end *end, bool is_backend)
{
	struct udp_peer_key key = {};

	udp_peer__key(&key, ctx, &end->addr, end->port, is_backend);
	return bpf_map_lookup_elem(&sb_sock_udp, &key);
}

/* The process talks to `end` by its own name: what that one answers is its own. */
static __always_inline void udp_peer__forget(struct bpf_sock_addr *ctx, struct sock_peer *peer,
					     const struct end *end)
{
	struct udp_peer_key key = {};

	if (end__is(end, &peer->backend, peer->backend_port))
		__builtin_memset(peer, 0, sizeof(*peer));
	udp_peer__key(&key, ctx, &end->addr, end->port, true);
	if (unlikely(bpf_map_lookup_elem(&sb_sock_udp, &key)))
		bpf_map_delete_elem(&sb_sock_udp, &key);
}
