/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: writes numbered records into a ring of one page when told to, and
 * counts those for which there was no room.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

#define RECORD_MAX 131072
#define EMIT_MAX 100000

struct ring_order {
	__u32 first;	   /* number of the first record */
	__u32 count;	   /* how many */
	__u32 size;	   /* bytes of each, 4 at least */
	__u32 discard;	   /* discarded ones before each */
	__u32 no_wakeup;   /* 1: written without waking the reader */
	__u32 pad;
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring_records SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} ring_lost SEC(".maps");

/* Only one test process runs the program at a time. */
static __u32 record[RECORD_MAX / 4];

static int emit(__u32 index, struct ring_order *order)
{
	__u64 flags = order->no_wakeup ? BPF_RB_NO_WAKEUP : 0;
	__u32 size = order->size;
	__u32 one = 1;
	__u64 *lost;
	void *other;

	if (order->discard > 0) {
		other = bpf_ringbuf_reserve(&ring_records, 16, 0);
		if (other)
			bpf_ringbuf_discard(other, flags);
	}
	if (size > RECORD_MAX)
		return 1;
	record[0] = order->first + index;
	if (bpf_ringbuf_output(&ring_records, record, size, flags) == 0)
		return 0;
	lost = bpf_map_lookup_elem(&ring_lost, &one);
	if (lost)
		*lost += 1;
	return 0;
}

SEC("syscall")
int ring_emit(struct ring_order *order)
{
	struct ring_order own = *order;

	if (own.count > EMIT_MAX)
		return 1;
	bpf_loop(own.count, emit, &own, 0);
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
