/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place that talks to the thread pool: promise, references and descriptors of a call under
 * way.
 */
#include "work.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static void execute(napi_env env, void *data)
{
	struct work *work = data;

	(void)env;
	work->result = work->run(work);
}

static void work_free(napi_env env, struct work *work)
{
	int i;

	for (i = 0; i < WORK_FDS; i++)
		if (work->fds[i] > 0)
			close(work->fds[i]);
	if (work->keep != NULL)
		napi_delete_reference(env, work->keep);
	if (work->work != NULL)
		napi_delete_async_work(env, work->work);
	free(work);
}

static void complete(napi_env env, napi_status status, void *data)
{
	struct work *work = data;

	if (status == napi_cancelled)
		work->result = -ECANCELED;
	if (work->done != NULL)
		work->done(work);
	napi_resolve_deferred(env, work->deferred, answer(env, work->result));
	work_free(env, work);
}

napi_value work_start(napi_env env, struct work *work, const char *name, napi_value keep)
{
	napi_value promise;

	if ((keep == NULL || napi_create_reference(env, keep, 1, &work->keep) == napi_ok) &&
	    napi_create_async_work(env, NULL, answer_text(env, name), execute, complete, work,
				   &work->work) == napi_ok &&
	    napi_create_promise(env, &work->deferred, &promise) == napi_ok &&
	    napi_queue_async_work(env, work->work) == napi_ok)
		return promise;
	if (work->done != NULL)
		work->done(work);
	work_free(env, work);
	return answer(env, -ENOMEM);
}

int work_copy_fd(struct work *work, int at, int fd)
{
	work->fds[at] = -1;
	if (fd < 0)
		return 0;
	/* Never 0, which is what calloc() leaves. */
	work->fds[at] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return work->fds[at] < 0 ? -errno : 0;
}
