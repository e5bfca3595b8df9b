/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a program by BPF_PROG_TEST_RUN: at once with a packet, or on the thread pool if it may
 * take long; and the measuring of runs.
 */
#define _GNU_SOURCE /* setns() */
#include "work.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>

/* What programTestRun() writes into its last argument. */
struct test_run_result {
	__u32 retval;
	__u32 duration_ns;
	__u32 data_size;
	__u32 ctx_size;
};

struct namespaced_run {
	int netns_fd;
	int fd;
	struct bpf_test_run_opts *opts;
	int result;
};

/* On a thread of its own, with which the namespace goes. */
static void *run_in_namespace(void *data)
{
	struct namespaced_run *run = data;

	if (setns(run->netns_fd, CLONE_NEWNET) < 0)
		run->result = -errno;
	else
		run->result = bpf_prog_test_run_opts(run->fd, run->opts);
	return NULL;
}

static int test_run(int netns_fd, int fd, struct bpf_test_run_opts *opts)
{
	struct namespaced_run run = { netns_fd, fd, opts, 0 };
	pthread_t thread;
	int err;

	if (netns_fd < 0)
		return bpf_prog_test_run_opts(fd, opts);
	err = pthread_create(&thread, NULL, run_in_namespace, &run);
	if (err != 0)
		return -err;
	pthread_join(thread, NULL);
	return run.result;
}

/* programTestRun(fd, dataIn, dataOut, ctxIn, ctxOut, repeat, flags, netnsFd or -1 for here, result): 0 */
static napi_value program_test_run(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct bytes data_in, data_out, ctx_in, ctx_out;
	struct test_run_result *result;
	struct args args;
	int fd, netns_fd, err;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	data_in = args_bytes(&args, 1);
	data_out = args_bytes(&args, 2);
	ctx_in = args_bytes(&args, 3);
	ctx_out = args_bytes(&args, 4);
	opts.repeat = args_int(&args, 5);
	opts.flags = args_int(&args, 6);
	netns_fd = args_int(&args, 7);
	result = args_room(&args, 8, sizeof(*result));
	if (args.is_bad)
		return answer(env, -EINVAL);
	opts.data_in = data_in.data;
	opts.data_size_in = data_in.size;
	opts.data_out = data_out.data;
	opts.data_size_out = data_out.size;
	opts.ctx_in = ctx_in.data;
	opts.ctx_size_in = ctx_in.size;
	opts.ctx_out = ctx_out.data;
	opts.ctx_size_out = ctx_out.size;
	err = test_run(netns_fd, fd, &opts);
	result->retval = opts.retval;
	result->duration_ns = opts.duration;
	result->data_size = opts.data_size_out;
	result->ctx_size = opts.ctx_size_out;
	return answer(env, err);
}

struct run {
	struct work work;
	struct bytes ctx;
};

static int64_t run_run(struct work *work)
{
	LIBBPF_OPTS(bpf_test_run_opts, opts);
	struct run *run = (struct run *)work;
	int err;

	opts.ctx_in = run->ctx.data;
	opts.ctx_size_in = run->ctx.size;
	err = bpf_prog_test_run_opts(work->fds[0], &opts);
	return err < 0 ? err : (int64_t)opts.retval;
}

/*
 * programRun(fd, ctx): promise of the program's return value (0 … 2^32-1) or -errno; for
 * SEC("syscall").
 * The kernel reads `ctx` and writes it back: nobody else may touch it until then.
 */
static napi_value program_run(napi_env env, napi_callback_info info)
{
	struct bytes ctx;
	struct args args;
	struct run *run;
	int fd, err;

	args_open(&args, env, info);
	fd = args_int(&args, 0);
	ctx = args_bytes(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	run = calloc(1, sizeof(*run));
	if (run == NULL)
		return answer(env, -ENOMEM);
	err = work_copy_fd(&run->work, 0, fd);
	if (err < 0) {
		free(run);
		return answer(env, err);
	}
	run->work.run = run_run;
	run->ctx = ctx;
	return work_start(env, &run->work, "sinabro bpf run", ctx.size > 0 ? args.at[1] : NULL);
}

/*
 * statsEnable(type): fd; while any such descriptor is open the kernel measures every run of every
 * program
 */
static napi_value stats_enable(napi_env env, napi_callback_info info)
{
	struct args args;
	uint32_t type;

	args_open(&args, env, info);
	type = args_u32(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_enable_stats(type));
}

const struct function program_functions[] = {
	{ "programTestRun", program_test_run },
	{ "programRun", program_run },
	{ "statsEnable", stats_enable },
	{ NULL, NULL },
};
