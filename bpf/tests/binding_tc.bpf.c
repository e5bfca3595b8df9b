/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: counts every packet in the row it was built with, and lets others
 * run on.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

/* Set by the test before load: which of two otherwise equal programs this is. */
const volatile __u32 tc_row = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} tc_seen SEC(".maps");

SEC("tc")
int tc_count(struct __sk_buff *skb)
{
	__u32 row = tc_row;
	__u64 *seen = bpf_map_lookup_elem(&tc_seen, &row);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
