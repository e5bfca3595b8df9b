/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Readability of a socket on Node's own loop.
 *
 * A poller is referred to by two: the JavaScript handle and libuv. Either may go first, so the memory goes with the last.
 */
#include "binding.h"

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

static void poller__put(struct poller *poller)
{
	if (--poller->references == 0)
		free(poller);
}

static void poller__closed(uv_handle_t *handle)
{
	struct poller *poller = handle->data;

	/* Environment teardown waits for this. */
	napi_remove_async_cleanup_hook(poller->hook);
	poller__put(poller);
}

static void poller__stop(struct poller *poller)
{
	if (poller->is_stopped)
		return;
	poller->is_stopped = true;
	uv_poll_stop(&poller->handle);
	napi_delete_reference(poller->env, poller->callback);
	napi_async_destroy(poller->env, poller->context);
	uv_close((uv_handle_t *)&poller->handle, poller__closed);
}

static void poller__env_ends(napi_async_cleanup_hook_handle hook, void *data)
{
	(void)hook;
	poller__stop(data);
}

static void poller__collected(napi_env env, void *data, void *hint)
{
	(void)env;
	(void)hint;
	poller__stop(data);
	poller__put(data);
}

static void poller__readable(uv_poll_t *handle, int status, int events)
{
	struct poller *poller = handle->data;
	napi_env env = poller->env;
	napi_handle_scope scope;
	napi_value callback, receiver, error;
	bool is_pending = false;

	(void)events;
	/*
	 * An overrun (ENOBUFS) shows as POLLERR, upon which libuv stops polling and reports UV_EBADF. The socket is well, so
	 * go on; receiving takes the error off it, and a truly bad descriptor fails there.
	 */
	if (status < 0)
		uv_poll_start(handle, UV_READABLE, poller__readable);

	napi_open_handle_scope(env, &scope);
	napi_get_reference_value(env, poller->callback, &callback);
	napi_get_global(env, &receiver);
	napi_make_callback(env, poller->context, receiver, callback, 0, NULL, NULL);
	napi_is_exception_pending(env, &is_pending);
	if (is_pending && napi_get_and_clear_last_exception(env, &error) == napi_ok)
		napi_fatal_exception(env, error);
	napi_close_handle_scope(env, scope);
}

napi_value poll__start(napi_env env, napi_callback_info info)
{
	napi_value argv[2], name, external;
	int32_t fd;
	uv_loop_t *loop;
	struct poller *poller;

	if (!binding__args(env, info, argv, 2) || !binding__i32(env, argv[0], &fd))
		return NULL;
	poller = calloc(1, sizeof(*poller));
	if (!poller || napi_get_uv_event_loop(env, &loop) != napi_ok ||
	    uv_poll_init(loop, &poller->handle, fd) < 0) {
		free(poller);
		napi_throw_error(env, NULL, "the descriptor cannot be polled");
		return NULL;
	}
	poller->handle.data = poller;
	poller->env = env;
	poller->references = 2;
	napi_create_reference(env, argv[1], 1, &poller->callback);
	napi_create_string_utf8(env, "netlink", NAPI_AUTO_LENGTH, &name);
	napi_async_init(env, NULL, name, &poller->context);
	napi_add_async_cleanup_hook(env, poller__env_ends, poller, &poller->hook);
	napi_create_external(env, poller, poller__collected, NULL, &external);
	uv_poll_start(&poller->handle, UV_READABLE, poller__readable);
	return external;
}

napi_value poll__stop(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	void *data;

	if (!binding__args(env, info, argv, 1))
		return NULL;
	if (napi_get_value_external(env, argv[0], &data) != napi_ok) {
		napi_throw_type_error(env, NULL, "a poller is expected");
		return NULL;
	}
	poller__stop(data);
	return NULL;
}
