/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Batches of a map on the thread pool: a large and sparse hash takes the kernel milliseconds to
 * walk, which the event loop should not wait for.
 */
#include "work.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>

struct read {
	struct work work;
	struct bytes from, next, keys, values;
	__u32 *count;
};

static int64_t read_run(struct work *work)
{
	struct read *read = (struct read *)work;

	return bpf_map_lookup_batch(work->fds[0], read->from.data, read->next.data,
				    read->keys.data, read->values.data, read->count, NULL);
}

/* One value that keeps the buffers of a call alive; NULL if there is no memory. */
static napi_value kept(napi_env env, const struct args *args, int first, int last)
{
	napi_value all;
	int i;

	if (napi_create_array(env, &all) != napi_ok)
		return NULL;
	for (i = first; i <= last; i++)
		if (napi_set_element(env, all, i - first, args->at[i]) != napi_ok)
			return NULL;
	return all;
}

/*
 * mapReadBatch(fd, from or null, next, keys, values, count): promise of what mapLookupBatch()
 * returns. Nobody else may touch the buffers until then.
 */
static napi_value map_read_batch(napi_env env, napi_callback_info info)
{
	struct read *read;
	struct args args;
	napi_value keep;
	int fd, err;

	read = calloc(1, sizeof(*read));
	if (read == NULL)
		return answer(env, -ENOMEM);
	args_open(&args, env, info);
	fd = args_int(&args, 0);
	read->from = args_bytes(&args, 1);
	read->next = args_bytes(&args, 2);
	read->keys = args_bytes(&args, 3);
	read->values = args_bytes(&args, 4);
	read->count = args_room(&args, 5, sizeof(*read->count));
	keep = args.is_bad ? NULL : kept(env, &args, 1, 5);
	err = args.is_bad ? -EINVAL : keep == NULL ? -ENOMEM : 0;
	if (err == 0)
		err = work_copy_fd(&read->work, 0, fd);
	if (err < 0) {
		free(read);
		return answer(env, err);
	}
	read->work.run = read_run;
	return work_start(env, &read->work, "sinabro bpf read", keep);
}

const struct function read_functions[] = {
	{ "mapReadBatch", map_read_batch },
	{ NULL, NULL },
};
