/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Attaching programs: links to devices, where the kernel's namespace matters, to cgroups and to
 * iterators; maps of sockets, which know no links on the oldest kernels.
 */
#define _GNU_SOURCE /* setns() */
#include "uapi.h"
#include "work.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* One bpf(2) call that means something only inside a network namespace. */
struct namespaced_call {
	int netns_fd;
	int command;
	void *attr;
	unsigned int attr_size;
	long result;
};

/*
 * Runs on a thread of its own that ends right after: the namespace goes with it, so no other thread
 * ever has to be
 * moved back, which could fail.
 */
static void *call_in_namespace(void *data)
{
	struct namespaced_call *call = data;

	if (setns(call->netns_fd, CLONE_NEWNET) < 0) {
		call->result = -errno;
		return NULL;
	}
	call->result = syscall(SYS_bpf, call->command, call->attr, call->attr_size);
	if (call->result < 0)
		call->result = -errno;
	return NULL;
}

static long call_bpf(int netns_fd, int command, void *attr, unsigned int attr_size)
{
	struct namespaced_call call = { netns_fd, command, attr, attr_size, 0 };
	pthread_t thread;
	long result;
	int err;

	if (netns_fd < 0) {
		result = syscall(SYS_bpf, command, attr, attr_size);
		return result < 0 ? -errno : result;
	}
	err = pthread_create(&thread, NULL, call_in_namespace, &call);
	if (err != 0)
		return -err;
	pthread_join(thread, NULL);
	return call.result;
}

struct create {
	struct work work;
	struct link_create_attr attr;
};

static int64_t create_run(struct work *work)
{
	struct create *create = (struct create *)work;

	create->attr.prog_fd = work->fds[0];
	return call_bpf(work->fds[1], BPF_LINK_CREATE, &create->attr, sizeof(create->attr));
}

/*
 * linkCreate(netnsFd or -1 for here, programFd, target, attachType, flags): promise of a fd.
 * `target` is an ifindex, or the descriptor of a cgroup that the caller keeps open until then.
 * On the thread pool, because the kernel waits until every CPU has seen the change: 10 to 70 ms.
 */
static napi_value link_create(napi_env env, napi_callback_info info)
{
	int netns_fd, program_fd, err;
	struct create *create;
	struct args args;

	create = calloc(1, sizeof(*create));
	if (create == NULL)
		return answer(env, -ENOMEM);
	args_open(&args, env, info);
	netns_fd = args_int(&args, 0);
	program_fd = args_int(&args, 1);
	create->attr.target = args_u32(&args, 2);
	create->attr.attach_type = args_u32(&args, 3);
	create->attr.flags = args_u32(&args, 4);
	if (args.is_bad) {
		free(create);
		return answer(env, -EINVAL);
	}
	err = work_copy_fd(&create->work, 0, program_fd);
	if (err == 0)
		err = work_copy_fd(&create->work, 1, netns_fd);
	if (err < 0) {
		if (create->work.fds[0] > 0)
			close(create->work.fds[0]);
		free(create);
		return answer(env, err);
	}
	create->work.run = create_run;
	return work_start(env, &create->work, "sinabro bpf link", NULL);
}

static int64_t update_run(struct work *work)
{
	return bpf_link_update(work->fds[0], work->fds[1], NULL);
}

/*
 * linkUpdate(linkFd, programFd): promise of 0; on the thread pool because XDP waits as linkCreate()
 * does, and every link to a device for the lock that all changes to devices take
 */
static napi_value link_update(napi_env env, napi_callback_info info)
{
	int link_fd, program_fd, err;
	struct work *work;
	struct args args;

	args_open(&args, env, info);
	link_fd = args_int(&args, 0);
	program_fd = args_int(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	work = calloc(1, sizeof(*work));
	if (work == NULL)
		return answer(env, -ENOMEM);
	err = work_copy_fd(work, 0, link_fd);
	if (err == 0)
		err = work_copy_fd(work, 1, program_fd);
	if (err < 0) {
		if (work->fds[0] > 0)
			close(work->fds[0]);
		free(work);
		return answer(env, err);
	}
	work->run = update_run;
	return work_start(env, work, "sinabro bpf update", NULL);
}

static int64_t detach_run(struct work *work)
{
	return bpf_link_detach(work->fds[0]);
}

/* linkDetach(linkFd): promise of 0; waits as linkCreate() does */
static napi_value link_detach(napi_env env, napi_callback_info info)
{
	struct work *work;
	struct args args;
	int link_fd, err;

	args_open(&args, env, info);
	link_fd = args_int(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	work = calloc(1, sizeof(*work));
	if (work == NULL)
		return answer(env, -ENOMEM);
	err = work_copy_fd(work, 0, link_fd);
	if (err < 0) {
		free(work);
		return answer(env, err);
	}
	work->run = detach_run;
	return work_start(env, work, "sinabro bpf detach", NULL);
}

/*
 * attachedQuery(netnsFd or -1, target, attachType, flags, programIds, linkIds or null): how many
 * programs are attached, in the order they run. `target` as in linkCreate(), or a map of sockets.
 * Both arrays are __u32 in memory, of the same length; a link id of 0 is a program attached without
 * a link. Before Linux 6.6 asking for link ids is -EINVAL.
 */
static napi_value attached_query(napi_env env, napi_callback_info info)
{
	struct prog_query_attr attr = { 0 };
	struct bytes programs, links;
	struct args args;
	int netns_fd;
	long err;

	args_open(&args, env, info);
	netns_fd = args_int(&args, 0);
	attr.target = args_u32(&args, 1);
	attr.attach_type = args_u32(&args, 2);
	attr.query_flags = args_u32(&args, 3);
	programs = args_bytes(&args, 4);
	links = args_bytes(&args, 5);
	if (args.is_bad || (links.data != NULL && links.size != programs.size))
		return answer(env, -EINVAL);
	attr.prog_ids = (uintptr_t)programs.data;
	attr.link_ids = (uintptr_t)links.data;
	attr.count = programs.size / sizeof(__u32);
	err = call_bpf(netns_fd, BPF_PROG_QUERY, &attr, sizeof(attr));
	return answer(env, err < 0 ? err : (int64_t)attr.count);
}

/* programAttach(programFd, targetFd, attachType): 0; takes the place of the one that was there */
static napi_value program_attach(napi_env env, napi_callback_info info)
{
	int program_fd, target_fd;
	uint32_t attach_type;
	struct args args;

	args_open(&args, env, info);
	program_fd = args_int(&args, 0);
	target_fd = args_int(&args, 1);
	attach_type = args_u32(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_prog_attach(program_fd, target_fd, attach_type, 0));
}

/* programDetach(programFd, targetFd, attachType): 0; -ENOENT if another or none is there */
static napi_value program_detach(napi_env env, napi_callback_info info)
{
	int program_fd, target_fd;
	uint32_t attach_type;
	struct args args;

	args_open(&args, env, info);
	program_fd = args_int(&args, 0);
	target_fd = args_int(&args, 1);
	attach_type = args_u32(&args, 2);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_prog_detach2(program_fd, target_fd, attach_type));
}

/* iteratorLink(programFd, mapFd or -1): fd of a link; it goes over that map's entries */
static napi_value iterator_link(napi_env env, napi_callback_info info)
{
	LIBBPF_OPTS(bpf_link_create_opts, opts);
	union bpf_iter_link_info over = { 0 };
	int program_fd, map_fd;
	struct args args;

	args_open(&args, env, info);
	program_fd = args_int(&args, 0);
	map_fd = args_int(&args, 1);
	if (args.is_bad)
		return answer(env, -EINVAL);
	if (map_fd >= 0) {
		over.map.map_fd = map_fd;
		opts.iter_info = &over;
		opts.iter_info_len = sizeof(over);
	}
	return answer(env, bpf_link_create(program_fd, 0, BPF_TRACE_ITER, &opts));
}

/* iteratorOpen(linkFd): fd to read(2) one pass from */
static napi_value iterator_open(napi_env env, napi_callback_info info)
{
	struct args args;
	int link_fd;

	args_open(&args, env, info);
	link_fd = args_int(&args, 0);
	if (args.is_bad)
		return answer(env, -EINVAL);
	return answer(env, bpf_iter_create(link_fd));
}

const struct function link_functions[] = {
	{ "linkCreate", link_create },
	{ "linkUpdate", link_update },
	{ "linkDetach", link_detach },
	{ "attachedQuery", attached_query },
	{ "programAttach", program_attach },
	{ "programDetach", program_detach },
	{ "iteratorLink", iterator_link },
	{ "iteratorOpen", iterator_open },
	{ NULL, NULL },
};
