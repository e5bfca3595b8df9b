/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tunnel metadata for packet vectors. A test run neither takes it in nor gives it out, so a vector's
 * program puts it on the packet before, or reads it off after, the real program runs.
 */
#pragma once

#include "addr.h"

struct test_tunnel {
	struct addr source;		/* outer; zero = the packet has no metadata */
	struct addr destination;
	__u32 vni;
	__u8 tos;
	__u8 ttl;
	__be16 flags;			/* TUNNEL_* of the kernel; only given out */
};
_Static_assert(sizeof(struct test_tunnel) == 40, "test_tunnel");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct test_tunnel);
} test_tunnel SEC(".maps");

static __always_inline struct test_tunnel *test_tunnel__get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&test_tunnel, &zero);
}

/* As if the packet had just come out of a tunnel: what is sent locally is received as remote. */
static __always_inline void test_tunnel__receive(struct __sk_buff *skb)
{
	struct test_tunnel *tunnel = test_tunnel__get();
	struct bpf_tunnel_key key = {};
	__u64 flags = 0;

	if (!tunnel || addr__is_zero(&tunnel->source))
		return;
	key.tunnel_id = tunnel->vni;
	if (addr__is_ipv4(&tunnel->source)) {
		key.local_ipv4 = bpf_ntohl(tunnel->source.w[3]);
	} else {
		__builtin_memcpy(key.local_ipv6, &tunnel->source, sizeof(struct addr));
		flags = BPF_F_TUNINFO_IPV6;
	}
	bpf_skb_set_tunnel_key(skb, &key, sizeof(key), flags);
}

/* Writes down what the packet would be sent with. */
static __always_inline void test_tunnel__note(struct __sk_buff *skb)
{
	struct test_tunnel *tunnel = test_tunnel__get();
	struct bpf_tunnel_key key = {};

	if (!tunnel)
		return;
	if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key), BPF_F_TUNINFO_FLAGS)) {
		addr__from_ipv4(&tunnel->source, bpf_htonl(key.remote_ipv4));
		addr__from_ipv4(&tunnel->destination, bpf_htonl(key.local_ipv4));
	} else if (!bpf_skb_get_tunnel_key(skb, &key, sizeof(key),
					   BPF_F_TUNINFO_IPV6 | BPF_F_TUNINFO_FLAGS)) {
		__builtin_memcpy(&tunnel->source, key.remote_ipv6, sizeof(struct addr));
		__builtin_memcpy(&tunnel->destination, key.local_ipv6, sizeof(struct addr));
	} else {
		return;
	}
	tunnel->vni = key.tunnel_id;
	tunnel->tos = key.tunnel_tos;
	tunnel->ttl = key.tunnel_ttl;
	tunnel->flags = key.tunnel_flags;
}
