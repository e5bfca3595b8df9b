/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: counts every packet in the row it was built with, and lets it pass.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* Set by the test before load: which of two otherwise equal programs this is. */
const volatile __u32 xdp_row = 0;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} xdp_seen SEC(".maps");

SEC("xdp")
int xdp_count(struct xdp_md *xdp)
{
	__u32 row = xdp_row;
	__u64 *seen = bpf_map_lookup_elem(&xdp_seen, &row);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	return XDP_PASS;
}

char _license[] SEC("license") = "Dual BSD/GPL";
