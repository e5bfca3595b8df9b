/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: TCP connections of a cgroup to itself, in a sockhash; what one end
 * sends goes straight to the other.
 */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

struct sock_key {
	__u32 local_port;
	__u32 remote_port;
};

/* Set by the test before load: which of two otherwise equal objects this is. */
const volatile __u32 sock_row = 0;

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 1024);
	__type(key, struct sock_key);
	__type(value, __u64);
} sock_ends SEC(".maps");

/* Two rows for messages, two for data received. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} sock_seen SEC(".maps");

static __always_inline void count(__u32 row)
{
	__u64 *seen = bpf_map_lookup_elem(&sock_seen, &row);

	if (seen)
		__sync_fetch_and_add(seen, 1);
}

SEC("sockops")
int sock_remember(struct bpf_sock_ops *ctx)
{
	struct sock_key key = { ctx->local_port, bpf_ntohl(ctx->remote_port) };

	if (ctx->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB ||
	    ctx->op == BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(ctx, &sock_ends, &key, BPF_NOEXIST);
	return 1;
}

SEC("sk_msg")
int sock_send(struct sk_msg_md *msg)
{
	struct sock_key other = { bpf_ntohl(msg->remote_port), msg->local_port };

	count(sock_row & 1);
	bpf_msg_redirect_hash(msg, &sock_ends, &other, BPF_F_INGRESS);
	return SK_PASS;
}

SEC("sk_skb/stream_verdict")
int sock_receive(struct __sk_buff *skb)
{
	count(2 + (sock_row & 1));
	return SK_PASS;
}

SEC("sk_skb/stream_parser")
int sock_parse(struct __sk_buff *skb)
{
	return skb->len;
}

char _license[] SEC("license") = "Dual BSD/GPL";
