/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * For the binding's own tests: iterators over the entries of a map and over all maps, and one that
 * leaves half a record at the end.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* What is read of the kernel's own types; libbpf finds the members where this kernel has them. */
struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 session_id;
	__u64 seq_num;
} __attribute__((preserve_access_index));

struct bpf_map {
	__u32 id;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
} __attribute__((preserve_access_index));

struct iter_row {
	__u32 key;
	__u32 number;
	__u64 value;
};

/* Set by the test before load: rows whose value is below are passed over. */
const volatile __u64 iter_least = 0;

/* Fixes the sizes of keys and values: only such maps can be gone over. */
SEC("iter/bpf_map_elem")
int iter_rows(struct bpf_iter__bpf_map_elem *ctx)
{
	__u32 *key = ctx->key;
	__u64 *value = ctx->value;
	struct iter_row row = {};

	if (!key || !value || *value < iter_least)
		return 0;
	row.key = *key;
	row.number = ctx->meta->seq_num;
	row.value = *value;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

/* Without key and value the kernel says that this is the end. */
SEC("iter/bpf_map_elem")
int iter_half(struct bpf_iter__bpf_map_elem *ctx)
{
	__u64 half = 0;

	if (!ctx->key)
		bpf_seq_write(ctx->meta->seq, &half, sizeof(half));
	return 0;
}

SEC("iter/bpf_map")
int iter_maps(struct bpf_iter__bpf_map *ctx)
{
	struct bpf_map *map = ctx->map;
	__u32 id;

	if (!map)
		return 0;
	id = map->id;
	bpf_seq_write(ctx->meta->seq, &id, sizeof(id));
	return 0;
}

char _license[] SEC("license") = "Dual BSD/GPL";
