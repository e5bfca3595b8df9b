/* SPDX-License-Identifier: Apache-2.0 */
/* Calls that take long: run on libuv's thread pool, answered through a promise of a number. */
#ifndef SINABRO_WORK_H
#define SINABRO_WORK_H

#include "args.h"

#define WORK_FDS 2

/* First member of what a call needs; allocated with calloc(), freed when it is answered. */
struct work {
	/* On a thread of the pool: no JavaScript. Returns the answer, -errno if it failed. */
	int64_t (*run)(struct work *work);
	/* Back on the main thread, before the answer is given; may be NULL. */
	void (*done)(struct work *work);
	/*
	 * Copies of descriptors, so that an owner may close its own meanwhile; -1 where there is
	 * none.
	 */
	int fds[WORK_FDS];
	int64_t result;
	napi_ref keep;
	napi_deferred deferred;
	napi_async_work work;
};

/*
 * Starts it and returns the promise, or a number if it could not start; `work` is not the caller's
 * any more.
 * `keep` is a JavaScript value that must live until then, or NULL.
 */
napi_value work_start(napi_env env, struct work *work, const char *name, napi_value keep);

/* Takes a copy of `fd` at place `at`, or notes that there is none. 0 or -errno. */
int work_copy_fd(struct work *work, int at, int fd);

#endif
