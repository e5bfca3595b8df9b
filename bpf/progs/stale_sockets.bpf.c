/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A pass over what sockets remember, made by whoever reads this iterator: names connected UDP sockets whose
 * backend is none of their service any more. Nothing tells their process, which would ask it for ever.
 */
#include "sockets.h"

/* include/net/tcp_states.h; of UDP: it is connected. */
#define TCP_ESTABLISHED 1
/* include/linux/socket.h */
#define AF_INET 2

/* The kernel's own, of which a program may read what is named here. */
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct net {
	__u64 net_cookie;
} __attribute__((preserve_access_index));

typedef struct __attribute__((preserve_access_index)) {
	struct net *net;
} possible_net_t;

struct sock_common {
	__u16 skc_family;
	volatile unsigned char skc_state;
	int skc_bound_dev_if;
	__be16 skc_dport;
	__u16 skc_num;
	__be32 skc_daddr;
	__be32 skc_rcv_saddr;
	struct in6_addr skc_v6_daddr;
	struct in6_addr skc_v6_rcv_saddr;
	possible_net_t skc_net;
} __attribute__((preserve_access_index));

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	struct sock_peer *value;
} __attribute__((preserve_access_index));

static __always_inline bool is_stale(const struct sock_peer *peer)
{
	const struct service *service;

	/* Asked before it was connected to somebody else, by its own name. */
	if (!peer->service_port)
		return false;
	service = service__find(&peer->service, peer->service_port, IPPROTO_UDP);
	return !service || service->id != peer->service_id ||
	       !list__has(service->internal, peer->backend_id);
}

/* A function of its own, so that BTF has the record, which no map has. */
static __attribute__((noinline)) void stale_socket__fill(struct stale_socket *stale, const struct sock *sk)
{
	stale->netns = sk->__sk_common.skc_net.net->net_cookie;
	stale->family = sk->__sk_common.skc_family;
	if (stale->family == AF_INET) {
		addr__from_ipv4(&stale->local, sk->__sk_common.skc_rcv_saddr);
		addr__from_ipv4(&stale->remote, sk->__sk_common.skc_daddr);
	} else {
		__builtin_memcpy(&stale->local, &sk->__sk_common.skc_v6_rcv_saddr, sizeof(stale->local));
		__builtin_memcpy(&stale->remote, &sk->__sk_common.skc_v6_daddr, sizeof(stale->remote));
	}
	stale->local_port = bpf_htons(sk->__sk_common.skc_num);
	stale->remote_port = sk->__sk_common.skc_dport;
	stale->ifindex = sk->__sk_common.skc_bound_dev_if;
}

SEC("iter/bpf_sk_storage_map")
int sb_stale(struct bpf_iter__bpf_sk_storage_map *context)
{
	const struct sock_peer *value = context->value;	/* both are NULL at the end */
	struct sock *sk = context->sk;
	struct stale_socket stale = {};
	struct sock_peer peer;

	if (!sk || !value)
		return 0;
	if (sk->sk_protocol != IPPROTO_UDP || sk->__sk_common.skc_state != TCP_ESTABLISHED)
		return 0;
	peer = *value;
	if (!is_stale(&peer))
		return 0;
	stale_socket__fill(&stale, sk);
	stale.cookie = bpf_get_socket_cookie(sk);
	if (stale.remote_port == peer.backend_port && addr__equal(&stale.remote, &peer.backend))
		bpf_seq_write(context->meta->seq, &stale, sizeof(stale));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
