/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: a second object with the maps of binding_basic, one of them laid out
 * otherwise.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define EVENTS_MAX 64

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} basic_percpu SEC(".maps");

/* binding_basic has values of 16 bytes here. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, EVENTS_MAX);
	__type(key, __u32);
	__type(value, __u64);
} basic_hash SEC(".maps");

SEC("tc")
int maps_read(struct __sk_buff *skb)
{
	__u32 zero = 0;
	__u32 *count = bpf_map_lookup_elem(&basic_percpu, &zero);
	__u64 *row = bpf_map_lookup_elem(&basic_hash, &zero);

	return count && row ? TC_ACT_OK : TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
