/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: one map of each shape, constants, a context to read back, a syscall
 * program.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define EVENTS_MAX 64

struct basic_row {
	__u64 packets;
	__u32 mark;
	__u16 port;
	__u8 flags[2];
};

/* Set by the test before load. */
const volatile __u32 basic_verdict = 0;
const volatile struct basic_row basic_row_default = {};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EVENTS_MAX);
	__type(key, __u32);
	__type(value, struct basic_row);
} basic_hash SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} basic_percpu SEC(".maps");

/* Counts in both maps, leaves marks in the context, returns the verdict it was built with. */
SEC("tc")
int basic_count(struct __sk_buff *skb)
{
	struct basic_row row = basic_row_default;
	__u32 zero = 0;
	__u32 *count = bpf_map_lookup_elem(&basic_percpu, &zero);

	if (count)
		*count += 1;
	row.packets += 1;
	row.mark = skb->mark;
	bpf_map_update_elem(&basic_hash, &zero, &row, BPF_ANY);
	skb->cb[0] = skb->cb[0] + 1;
	skb->mark = 0x5b;
	return basic_verdict;
}

/* Answers through its context, as sweeps do. */
SEC("syscall")
int basic_call(struct basic_row *row)
{
	row->packets += 1;
	return 7;
}

char _license[] SEC("license") = "Dual BSD/GPL";
