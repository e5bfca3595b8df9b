/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Maps: one function per map command of bpf(2). Key and value sizes are the caller's duty:
 * src/map.ts checks them.
 */
#include "args.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <unistd.h>

/* mapCreate(type, keySize, valueSize, maxEntries, flags, name, innerFd): fd */
static napi_value map_create(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts);
	uint32_t type, key_size, value_size, max_entries;
	struct text name;
	struct args args;
	int inner_fd;

	args_open(&args, env, info);
	type = args_u32(&args, 0);
	key_size = args_u32(&args, 1);
	value_size = args_u32(&args, 2);
	max_entries = args_u32(&args, 3);
	opts.map_flags = args_u32(&args, 4);
	args_text(&args, 5, &name);
	inner_fd = args_int(&args, 6);
	if (args.is_bad)
		return answer(env, -EINVAL);
	if (inner_fd >= 0)
		opts.inner_map_fd = inner_fd;
	return answer(env,
		      bpf_map_create(type, name.data, key_size, value_size, max_entries, &opts));
}

/* mapOfId(id): fd */
static napi_value map_of_id(napi_env env, napi_callback_info info)
{
	struct args args;
	uint32_t id;

	args_open(&args, env, info);
	id = args_u32(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_get_fd_by_id(id));
}

/* mapLookup(fd, key, value, flags): 0 */
static napi_value map_lookup(napi_env env, napi_callback_info info)
{
	struct bytes key, value;
	struct args args;
	uint32_t flags;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	key = args_bytes(&args, 1);
	value = args_bytes(&args, 2);
	flags = args_u32(&args, 3);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_lookup_elem_flags(fd, key.data, value.data, flags));
}

/* mapUpdate(fd, key, value, flags): 0 */
static napi_value map_update(napi_env env, napi_callback_info info)
{
	struct bytes key, value;
	struct args args;
	uint32_t flags;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	key = args_bytes(&args, 1);
	value = args_bytes(&args, 2);
	flags = args_u32(&args, 3);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_update_elem(fd, key.data, value.data, flags));
}

/* mapDelete(fd, key): 0 */
static napi_value map_delete(napi_env env, napi_callback_info info)
{
	struct args args;
	struct bytes key;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	key = args_bytes(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_delete_elem(fd, key.data));
}

/* mapNextKey(fd, key or null for the first, next): 0 */
static napi_value map_next_key(napi_env env, napi_callback_info info)
{
	struct bytes key, next;
	struct args args;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	key = args_bytes(&args, 1);
	next = args_bytes(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_get_next_key(fd, key.data, next.data));
}

/*
 * mapLookupBatch(fd, from or null for the start, next, keys, values, count): 0, -ENOENT with the
 * last ones.
 * `count` is a __u32 in memory: room in, number found out, also when -ENOENT is returned.
 */
static napi_value map_lookup_batch(napi_env env, napi_callback_info info)
{
	struct bytes from, next, keys, values;
	struct args args;
	__u32 *count;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	from = args_bytes(&args, 1);
	next = args_bytes(&args, 2);
	keys = args_bytes(&args, 3);
	values = args_bytes(&args, 4);
	count = args_room(&args, 5, sizeof(*count));
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_lookup_batch(fd, from.data, next.data, keys.data, values.data,
						count, NULL));
}

/* mapUpdateBatch(fd, keys, values, count, flags): 0; `count` as above, out: how many were done */
static napi_value map_update_batch(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_map_batch_opts, opts);
	struct bytes keys, values;
	struct args args;
	__u32 *count;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	keys = args_bytes(&args, 1);
	values = args_bytes(&args, 2);
	count = args_room(&args, 3, sizeof(*count));
	opts.elem_flags = args_u32(&args, 4);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_update_batch(fd, keys.data, values.data, count, &opts));
}

/* mapDeleteBatch(fd, keys, count): 0; `count` as above */
static napi_value map_delete_batch(napi_env env, napi_callback_info info)
{
	struct args args;
	struct bytes keys;
	__u32 *count;
	int fd;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	keys = args_bytes(&args, 1);
	count = args_room(&args, 2, sizeof(*count));
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_map_delete_batch(fd, keys.data, count, NULL));
}

/* possibleCpus(): how many values a per-CPU entry has */
static napi_value possible_cpus(napi_env env, napi_callback_info info)
{
	(void)info;
	return answer(env, libbpf_num_possible_cpus());
}

const struct function map_functions[] = {
	{ "mapCreate", map_create },
	{ "mapOfId", map_of_id },
	{ "mapLookup", map_lookup },
	{ "mapUpdate", map_update },
	{ "mapDelete", map_delete },
	{ "mapNextKey", map_next_key },
	{ "mapLookupBatch", map_lookup_batch },
	{ "mapUpdateBatch", map_update_batch },
	{ "mapDeleteBatch", map_delete_batch },
	{ "possibleCpus", possible_cpus },
	{ NULL, NULL },
};
