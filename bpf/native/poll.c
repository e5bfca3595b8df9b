/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readability of a descriptor on Node's own loop.
 *
 * A poller is referred to by two: the JavaScript handle and libuv. Either may go first, so the
 * memory goes with the last.
 *
 * netlink/native/poll.c does the same and is not shared: that package is built and used alone too.
 */
#include "args.h"

#include <errno.h>
#include <stdlib.h>
#include <uv.h>

struct poller {
	uv_poll_t handle; /* handle.data is the poller */
	napi_env env;
	napi_ref callback;
	napi_async_context context;
	napi_async_cleanup_hook_handle hook;
	bool is_stopped;
	int references;
};

static void put(struct poller *poller)
{
	if (--poller->references == 0)
		free(poller);
}

static void closed(uv_handle_t *handle)
{
	struct poller *poller = handle->data;

	/* The end of the environment waits for this. */
	napi_remove_async_cleanup_hook(poller->hook);
	put(poller);
}

static void stop(struct poller *poller)
{
	if (poller->is_stopped)
		return;
	poller->is_stopped = true;
	uv_poll_stop(&poller->handle);
	napi_delete_reference(poller->env, poller->callback);
	napi_async_destroy(poller->env, poller->context);
	uv_close((uv_handle_t *)&poller->handle, closed);
}

static void env_ends(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	stop(data);
}

static void collected(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	stop(data);
	put(data);
}

/* After a status below 0 libuv polls no more. */
static void readable(uv_poll_t *handle, int status, int events)
{
	struct poller *poller = handle->data;
	napi_env env = poller->env;
	napi_value callback, receiver, argument, error;
	napi_handle_scope scope;
	bool is_pending = false;

	(void)events;
	napi_open_handle_scope(env, &scope);
	argument = answer(env, status);
	napi_get_reference_value(env, poller->callback, &callback);
	napi_get_global(env, &receiver);
	napi_make_callback(env, poller->context, receiver, callback, 1, &argument, NULL);
	napi_is_exception_pending(env, &is_pending);
	if (is_pending && napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	napi_close_handle_scope(env, scope);
}

/* The poller in argument 0, or NULL. */
static struct poller *poller_from(struct args *args)
{
	struct poller *poller;

	if (args->is_bad ||
	    napi_get_value_external(args->env, args->at[0], (void **)&poller) != napi_ok)
		return NULL;
	return poller;
}

/*
 * pollStart(fd, onReadable): external. Calls onReadable(0 or -errno) once in a turn of the loop as
 * long as there is something to read. The descriptor stays the caller's, open until pollStop().
 */
static napi_value poll_start(napi_env env, napi_callback_info info)
{
	napi_valuetype kind = napi_undefined;
	struct poller *poller;
	napi_value external;
	struct args args;
	uv_loop_t *loop;
	int fd, err;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	napi_typeof(env, args.at[1], &kind);
	if (args.is_bad || kind != napi_function)
		return answer(env, -EINVAL);
	poller = calloc(1, sizeof(*poller));
	if (poller == NULL || napi_get_uv_event_loop(env, &loop) != napi_ok) {
		free(poller);
		return answer(env, -ENOMEM);
	}
	err = uv_poll_init(loop, &poller->handle, fd);
	if (err < 0) {
		free(poller);
		return answer(env, err);
	}
	poller->handle.data = poller;
	poller->env = env;
	poller->references = 2;
	napi_create_reference(env, args.at[1], 1, &poller->callback);
	napi_async_init(env, NULL, answer_text(env, "sinabro bpf poll"), &poller->context);
	napi_add_async_cleanup_hook(env, env_ends, poller, &poller->hook);
	napi_create_external(env, poller, collected, NULL, &external);
	uv_poll_start(&poller->handle, UV_READABLE, readable);
	return external;
}

/* pollStop(poller): 0, also when it has stopped before */
static napi_value poll_stop(napi_env env, napi_callback_info info)
{
	struct poller *poller;
	struct args args;

	args_open(&args, env, info);
	poller = poller_from(&args);
	if (poller == NULL)
		return answer(env, -EINVAL);
	stop(poller);
	return answer(env, 0);
}

/* pollRef(poller, 1 or 0): 0; whether it keeps the loop, and so the process, alive */
static napi_value poll_ref(napi_env env, napi_callback_info info)
{
	struct poller *poller;
	uint32_t is_ref;
	struct args args;

	args_open(&args, env, info);
	is_ref = args_u32(&args, 1);
	poller = poller_from(&args);
	if (poller == NULL)
		return answer(env, -EINVAL);
	if (poller->is_stopped)
		return answer(env, 0);
	if (is_ref)
		uv_ref((uv_handle_t *)&poller->handle);
	else
		uv_unref((uv_handle_t *)&poller->handle);
	return answer(env, 0);
}

const struct function poll_functions[] = {
	{ "pollStart", poll_start },
	{ "pollStop", poll_stop },
	{ "pollRef", poll_ref },
	{ NULL, NULL },
};
