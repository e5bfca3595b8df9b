/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What sockets remember of the services they asked, so that answers and names are the services' again.
 *
 * It lies with the socket and goes with it.
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

/* Of more services than these a socket forgets the one that it asked the longest time ago. */
#define FURTHER_MAX 32

struct further {
	__u64 last;			/* how many times one of these was asked */
	__u64 asked[FURTHER_MAX];	/* which of them that was; 0 = a free place */
	struct sock_peer peers[FURTHER_MAX];
};

/* Answers: the same of the further services of an unconnected UDP socket. With the socket, so that nobody else's can
 * make it forget in whose name it is answered. Written by the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct further);
} sb_sock_further SEC(".maps");

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

/* The place of the one asked last with this service, or backend. FURTHER_MAX: none. */
__rare int further__find(const struct further *further, const struct end *end, bool is_backend)
{
	__u64 last = 0;
	__u32 at, found = FURTHER_MAX;

	if (!further || !end)
		return FURTHER_MAX;
	for (at = 0; at < FURTHER_MAX; at++) {
		const struct sock_peer *peer = &further->peers[at];
		__u64 asked = further->asked[at];

		if (asked <= last || !end__is(end, is_backend ? &peer->backend : &peer->service,
					      is_backend ? peer->backend_port : peer->service_port))
			continue;
		last = asked;
		found = at;
	}
	return found;
}

/* Where this one belongs: the place it has, or that of the one asked the longest time ago. */
__rare int further__place(const struct further *further, const struct sock_peer *peer)
{
	__u64 first = ~0ULL;
	__u32 at, place = 0;

	if (!further || !peer)
		return 0;
	for (at = 0; at < FURTHER_MAX; at++) {
		const struct sock_peer *known = &further->peers[at];
		__u64 asked = further->asked[at];

		if (asked && sock_peer__has_backend(known, peer) &&
		    known->service_port == peer->service_port &&
		    addr__equal(&known->service, &peer->service))
			return at;
		if (asked >= first)
			continue;
		first = asked;
		place = at;
	}
	return place;
}

static __always_inline struct further *socket__further(struct bpf_sock_addr *ctx, __u64 flags)
{
	return bpf_sk_storage_get(&sb_sock_further, ctx->sk, NULL, flags);
}

/* What is sent to the service goes to this backend, what is said in the backend's name is the service's. */
static __always_inline void socket__add_further(struct bpf_sock_addr *ctx, const struct sock_peer *peer)
{
	struct further *further = socket__further(ctx, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 at;

	if (unlikely(!further))
		return;
	at = further__place(further, peer);
	if (at >= FURTHER_MAX)
		return;
	further->asked[at] = 0;
	further->peers[at] = *peer;
	further->asked[at] = ++further->last;
}

/* NULL: it knows none with this service, or backend. */
static __always_inline const struct sock_peer *socket__find_further(struct bpf_sock_addr *ctx,
								    const struct end *end, bool is_backend)
{
	const struct further *further = socket__further(ctx, 0);
	__u32 at;

	if (likely(!further))
		return NULL;
	at = further__find(further, end, is_backend);
	return at < FURTHER_MAX ? &further->peers[at] : NULL;
}

__rare int further__forget(struct further *further, const struct end *backend)
{
	__u32 at;

	if (!further || !backend)
		return 0;
	for (at = 0; at < FURTHER_MAX; at++)
		if (end__is(backend, &further->peers[at].backend, further->peers[at].backend_port))
			further->asked[at] = 0;
	return 0;
}

/* The process talks to `end` by its own name: what that one answers is its own. */
static __always_inline void socket__forget(struct bpf_sock_addr *ctx, struct sock_peer *first,
					   const struct end *end)
{
	struct further *further = socket__further(ctx, 0);

	if (end__is(end, &first->backend, first->backend_port))
		__builtin_memset(first, 0, sizeof(*first));
	if (unlikely(further))
		further__forget(further, end);
}
