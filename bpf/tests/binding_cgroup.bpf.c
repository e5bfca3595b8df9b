/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: a service in the sockets of a cgroup. Who talks to 192.0.2.1 or
 * 2001:db8::1 talks to a port on the loopback and does not see it. Counts each call.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define SERVICE4 bpf_htonl(0xc0000201)
#define LOOPBACK4 bpf_htonl(0x7f000001)
#define SERVICE6 bpf_htonl(0x20010db8)
#define ONE bpf_htonl(1)
#define SERVICE_PORT bpf_htons(7)

/* Rows of cgroup_seen, as the tests count them. */
enum place { CONNECT4, CONNECT6, SENDMSG4, SENDMSG6, RECVMSG4, RECVMSG6, PEER4, PEER6, SOCK_OPS };

/* Set by the test before load: which of two otherwise equal objects this is; the server's port. */
const volatile __u32 cgroup_row = 0;
const volatile __u16 cgroup_port = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u64);
} cgroup_seen SEC(".maps");

static __always_inline void count(enum place place)
{
	__u32 row = 2 * place + (cgroup_row & 1);
	__u64 *seen = bpf_map_lookup_elem(&cgroup_seen, &row);

	if (seen)
		__sync_fetch_and_add(seen, 1);
}

static __always_inline int to_server4(struct bpf_sock_addr *ctx, enum place place)
{
	if (ctx->user_ip4 != SERVICE4)
		return 1;
	count(place);
	ctx->user_ip4 = LOOPBACK4;
	ctx->user_port = bpf_htons(cgroup_port);
	return 1;
}

static __always_inline int to_service4(struct bpf_sock_addr *ctx, enum place place)
{
	if (ctx->user_ip4 != LOOPBACK4 || ctx->user_port != bpf_htons(cgroup_port))
		return 1;
	count(place);
	ctx->user_ip4 = SERVICE4;
	ctx->user_port = SERVICE_PORT;
	return 1;
}

static __always_inline int to_server6(struct bpf_sock_addr *ctx, enum place place)
{
	if (ctx->user_ip6[0] != SERVICE6 || ctx->user_ip6[3] != ONE)
		return 1;
	count(place);
	ctx->user_ip6[0] = 0;
	ctx->user_port = bpf_htons(cgroup_port);
	return 1;
}

static __always_inline int to_service6(struct bpf_sock_addr *ctx, enum place place)
{
	if (ctx->user_ip6[0] != 0 || ctx->user_ip6[3] != ONE ||
	    ctx->user_port != bpf_htons(cgroup_port))
		return 1;
	count(place);
	ctx->user_ip6[0] = SERVICE6;
	ctx->user_port = SERVICE_PORT;
	return 1;
}

SEC("cgroup/connect4")
int cgroup_connect4(struct bpf_sock_addr *ctx)
{
	return to_server4(ctx, CONNECT4);
}

SEC("cgroup/connect6")
int cgroup_connect6(struct bpf_sock_addr *ctx)
{
	return to_server6(ctx, CONNECT6);
}

SEC("cgroup/sendmsg4")
int cgroup_sendmsg4(struct bpf_sock_addr *ctx)
{
	return to_server4(ctx, SENDMSG4);
}

SEC("cgroup/sendmsg6")
int cgroup_sendmsg6(struct bpf_sock_addr *ctx)
{
	return to_server6(ctx, SENDMSG6);
}

SEC("cgroup/recvmsg4")
int cgroup_recvmsg4(struct bpf_sock_addr *ctx)
{
	return to_service4(ctx, RECVMSG4);
}

SEC("cgroup/recvmsg6")
int cgroup_recvmsg6(struct bpf_sock_addr *ctx)
{
	return to_service6(ctx, RECVMSG6);
}

SEC("cgroup/getpeername4")
int cgroup_peer4(struct bpf_sock_addr *ctx)
{
	return to_service4(ctx, PEER4);
}

SEC("cgroup/getpeername6")
int cgroup_peer6(struct bpf_sock_addr *ctx)
{
	return to_service6(ctx, PEER6);
}

SEC("sockops")
int cgroup_sock_ops(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		count(SOCK_OPS);
	return 1;
}

char _license[] SEC("license") = "Dual BSD/GPL";
