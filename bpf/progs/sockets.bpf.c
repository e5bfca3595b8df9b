/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Hooks of the node's cgroup: who connects or sends to a service gets a backend of it, once, and sees the service
 * all the same. Packets of such a socket know the backend only.
 *
 * TCP and UDP, of pods and of the node. IPv4 addresses in IPv6 sockets (::ffff:a.b.c.d) come by the hooks of IPv6
 * when they are connected, and when datagrams are received; sending comes by those of IPv4. ADR 0080.
 */
#include <linux/errno.h>

#include "sockets.h"
#include "verdict.h"

#define REFUSED 0
#define ALLOWED 1

/* include/net/tcp_states.h; of UDP: it is connected. */
#define TCP_ESTABLISHED 1

static __always_inline void end__read4(struct end *end, const struct bpf_sock_addr *ctx)
{
	addr__from_ipv4(&end->addr, ctx->user_ip4);
	end->port = ctx->user_port;
}

static __always_inline void end__read6(struct end *end, const struct bpf_sock_addr *ctx)
{
	end->addr.w[0] = ctx->user_ip6[0];
	end->addr.w[1] = ctx->user_ip6[1];
	end->addr.w[2] = ctx->user_ip6[2];
	end->addr.w[3] = ctx->user_ip6[3];
	end->port = ctx->user_port;
}

static __always_inline void end__write4(const struct end *end, struct bpf_sock_addr *ctx)
{
	ctx->user_ip4 = end->addr.w[3];
	ctx->user_port = end->port;
}

static __always_inline void end__write6(const struct end *end, struct bpf_sock_addr *ctx)
{
	ctx->user_ip6[0] = end->addr.w[0];
	ctx->user_ip6[1] = end->addr.w[1];
	ctx->user_ip6[2] = end->addr.w[2];
	ctx->user_ip6[3] = end->addr.w[3];
	ctx->user_port = end->port;
}

static __always_inline bool is_of_node(struct bpf_sock_addr *ctx)
{
	const struct service_config *config = service_config__get();

	return config && bpf_get_netns_cookie(ctx) == config->host_netns;
}

/* NULL: it is no service's. What a process calls "any address" the kernel takes for the loopback. */
static __always_inline const struct service *asked(struct bpf_sock_addr *ctx, struct end *to)
{
	const struct service *service;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return NULL;
	if (addr__is_ipv4(&to->addr)) {
		if (unlikely(!to->addr.w[3]))
			to->addr.w[3] = bpf_htonl(INADDR_LOOPBACK);
	} else if (unlikely(addr__is_zero(&to->addr))) {
		to->addr.w[3] = bpf_htonl(1);
	}
	if (unlikely(addr__is_loopback(&to->addr) && !is_of_node(ctx)))
		return NULL;
	service = service__find(&to->addr, to->port, ctx->protocol);
	/* Which source a pod will have, and whether that may ask, its packets say. */
	if (service && unlikely(service->flags & SERVICE_SOURCE_RANGES) && !is_of_node(ctx))
		return NULL;
	return service;
}

/* False: the kernel has yet to choose one. */
static __always_inline bool source_of(struct bpf_sock_addr *ctx, const struct end *to, struct addr *source)
{
	const struct bpf_sock *sk = ctx->sk;

	/* Of an IPv6 socket whose peer is IPv4, too. */
	if (addr__is_ipv4(&to->addr)) {
		addr__from_ipv4(source, sk->src_ip4);
		return source->w[3];
	}
	source->w[0] = sk->src_ip6[0];
	source->w[1] = sk->src_ip6[1];
	source->w[2] = sk->src_ip6[2];
	source->w[3] = sk->src_ip6[3];
	return !addr__is_zero(source);
}

/* A process of the node, by the address that its socket has, or else by those of the node (ADR 0098). */
static __always_inline bool admits(struct bpf_sock_addr *ctx, const struct service *service, const struct end *to)
{
	struct addr source;

	if (!(service->flags & SERVICE_SOURCE_RANGES))
		return true;
	if (!source_of(ctx, to, &source))
		return !(service->flags & SERVICE_NOT_NODE);
	return service__admits(service, &source);
}

/* Whom `to` leads to now; false if nobody. */
static __always_inline bool choose(struct bpf_sock_addr *ctx, const struct service *service,
				   const struct end *to, struct sock_peer *peer)
{
	struct affinity_key client = {};
	const struct backend *backend = NULL;
	__u64 netns;
	__u32 id = BACKEND_NONE;
	int tries;

	/* One question for both: most services have neither. */
	if (unlikely(service->flags & (SERVICE_AFFINITY | SERVICE_SOURCE_RANGES))) {
		if (!admits(ctx, service, to))
			return false;
		netns = bpf_get_netns_cookie(ctx);
		__builtin_memcpy(&client.client, &netns, sizeof(netns));
		client.kind = CLIENT_NETNS;
	}
	/* It may go between its slot and its row. */
	for (tries = 0; tries < 2 && !backend; tries++) {
		id = service__pick(service, service->internal, &client, BACKEND_NONE);
		if (id == BACKEND_NONE)
			return false;
		backend = backend__find(id);
	}
	/* The loopback is another one's for each who asks. */
	if (!backend || unlikely(addr__is_loopback(&backend->addr)))
		return false;
	if (unlikely(client.service))
		service__keep(&client, id);
	peer->service = to->addr;
	peer->service_port = to->port;
	peer->service_id = service->id;
	peer->backend = backend->addr;
	peer->backend_port = backend->port;
	peer->backend_id = id;
	return true;
}

static __always_inline int to_backend(struct end *to, const struct sock_peer *peer)
{
	to->addr = peer->backend;
	to->port = peer->backend_port;
	return PASS_SERVICE;
}

static __always_inline int connect(struct bpf_sock_addr *ctx, struct end *to)
{
	const struct service *service = asked(ctx, to);
	struct sock_peer peer = {};

	/* Connecting UDP sends nothing. Resolvers ask every address that way, by any port, which source they would have
	 * there (RFC 6724): refused, an address counts as out of reach. */
	if (service && service->flags & SERVICE_ADDRESS && ctx->protocol == IPPROTO_UDP)
		service = NULL;
	if (!service) {
		if (unlikely(socket__peer(ctx)))
			bpf_sk_storage_delete(&sb_sock, ctx->sk);
		return CONTINUE;
	}
	if (!choose(ctx, service, to, &peer))
		return PASS_REFUSED;
	socket__set_peer(ctx, &peer);
	return to_backend(to, &peer);
}

/* Datagrams of one socket go on to one backend, as long as it is one. */
static __always_inline bool is_valid(const struct service *service, __u32 service_id, __u32 backend_id)
{
	return service_id == service->id && list__has(service->internal, backend_id);
}

/* A datagram with an address: of an unconnected UDP socket mostly. */
static __always_inline int send(struct bpf_sock_addr *ctx, struct end *to)
{
	const struct service *service = asked(ctx, to);
	struct sock_peer *first = socket__peer(ctx), peer = {};
	const struct sock_peer *further;
	bool is_first;

	if (!service) {
		/* Of a connected socket for IPv6 whose peer is IPv4 even what has no address comes here, with the peer's. */
		if (unlikely(first) && ctx->sk->state != TCP_ESTABLISHED)
			socket__forget(ctx, first, to);
		return CONTINUE;
	}
	is_first = !first || !first->service_port || end__is(to, &first->service, first->service_port);
	if (first && first->service_port && is_first) {
		/* A connected socket hears nobody else. */
		if (ctx->sk->state == TCP_ESTABLISHED ||
		    is_valid(service, first->service_id, first->backend_id))
			return to_backend(to, first);
		/* Its last answers may be under way. */
		socket__add_further(ctx, first);
	}
	further = is_first ? NULL : socket__find_further(ctx, to, false);
	if (further && is_valid(service, further->service_id, further->backend_id))
		peer = *further;
	else if (!choose(ctx, service, to, &peer))
		return PASS_REFUSED;
	if (!is_first && sock_peer__has_backend(first, &peer)) {
		/* Whoever answers for two services, answers for the one asked last: that one is found first. */
		socket__add_further(ctx, first);
		is_first = true;
	}
	if (is_first)
		socket__set_peer(ctx, &peer);
	else
		socket__add_further(ctx, &peer);
	return to_backend(to, &peer);
}

/* Whether `from`, a backend, has become the service that was asked. */
static __always_inline bool name(struct end *from, const struct sock_peer *peer)
{
	if (!end__is(from, &peer->backend, peer->backend_port))
		return false;
	from->addr = peer->service;
	from->port = peer->service_port;
	return true;
}

static __always_inline bool name_sender(struct bpf_sock_addr *ctx, struct end *from)
{
	const struct sock_peer *known = socket__peer(ctx);

	if (likely(!known))
		return false;
	if (name(from, known))
		return true;
	known = socket__find_further(ctx, from, true);
	return known && name(from, known);
}

static __always_inline bool name_peer(struct bpf_sock_addr *ctx, struct end *peer)
{
	const struct sock_peer *known = socket__peer(ctx);

	return unlikely(known) && name(peer, known);
}

/* A count may be lost where one process interrupts another: these run in theirs. */
static __always_inline int finish_call(int outcome)
{
	__u32 index = PLACE_SOCKET * OUTCOMES_MAX + outcome;
	struct counter *counter;

	if (outcome == CONTINUE)
		return ALLOWED;
	counter = bpf_map_lookup_elem(&sb_counters, &index);
	if (likely(counter))
		counter->packets++;
	if (likely(outcome != PASS_REFUSED))
		return ALLOWED;
	/* Else it were EPERM, which nobody expects. */
	bpf_set_retval(-ECONNREFUSED);
	return REFUSED;
}

SEC("cgroup/connect4")
int sb_connect4(struct bpf_sock_addr *ctx)
{
	struct end to;
	int outcome;

	end__read4(&to, ctx);
	outcome = connect(ctx, &to);
	if (outcome == PASS_SERVICE)
		end__write4(&to, ctx);
	return finish_call(outcome);
}

SEC("cgroup/connect6")
int sb_connect6(struct bpf_sock_addr *ctx)
{
	struct end to;
	int outcome;

	end__read6(&to, ctx);
	outcome = connect(ctx, &to);
	if (outcome == PASS_SERVICE)
		end__write6(&to, ctx);
	return finish_call(outcome);
}

SEC("cgroup/sendmsg4")
int sb_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct end to;
	int outcome;

	end__read4(&to, ctx);
	outcome = send(ctx, &to);
	if (outcome == PASS_SERVICE)
		end__write4(&to, ctx);
	return finish_call(outcome);
}

SEC("cgroup/sendmsg6")
int sb_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct end to;
	int outcome;

	end__read6(&to, ctx);
	outcome = send(ctx, &to);
	if (outcome == PASS_SERVICE)
		end__write6(&to, ctx);
	return finish_call(outcome);
}

SEC("cgroup/recvmsg4")
int sb_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct end from;

	end__read4(&from, ctx);
	if (name_sender(ctx, &from))
		end__write4(&from, ctx);
	return ALLOWED;
}

SEC("cgroup/recvmsg6")
int sb_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct end from;

	end__read6(&from, ctx);
	if (name_sender(ctx, &from))
		end__write6(&from, ctx);
	return ALLOWED;
}

SEC("cgroup/getpeername4")
int sb_getpeername4(struct bpf_sock_addr *ctx)
{
	struct end peer;

	end__read4(&peer, ctx);
	if (name_peer(ctx, &peer))
		end__write4(&peer, ctx);
	return ALLOWED;
}

SEC("cgroup/getpeername6")
int sb_getpeername6(struct bpf_sock_addr *ctx)
{
	struct end peer;

	end__read6(&peer, ctx);
	if (name_peer(ctx, &peer))
		end__write6(&peer, ctx);
	return ALLOWED;
}

char _license[] SEC("license") = "Dual BSD/GPL";
