/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Work inside another network namespace, done by a thread that lives for this one task.
 *
 * A socket belongs to the namespace its creator was in, and an open sysctl file to the namespace of whoever opened it. So
 * the thread enters, opens, and ends; the descriptor is good for the whole process. There is no way back to fail, and no
 * JavaScript ever runs in a foreign namespace.
 */
#define _GNU_SOURCE
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#define STACK_BYTES (256 * 1024)

struct task {
	int (*run)(const struct task *task);
	int netns_fd; /* -1: stay */
	int protocol;
	const char *path;
	int flags;
	int result; /* a descriptor or -errno */
};

static void *task__main(void *argument)
{
	struct task *task = argument;

	if (task->netns_fd >= 0 && setns(task->netns_fd, CLONE_NEWNET) < 0)
		task->result = -errno;
	else
		task->result = task->run(task);
	return NULL;
}

static int task__execute(struct task *task)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	/* Node's signals are for its own threads; the mask is inherited. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, task__main, task);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	if (error)
		return -error;
	pthread_join(thread, NULL);
	return task->result;
}

static int task__socket(const struct task *task)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, task->protocol);

	return fd < 0 ? -errno : fd;
}

static int task__open(const struct task *task)
{
	int fd = open(task->path, task->flags | O_CLOEXEC | O_NOCTTY);

	return fd < 0 ? -errno : fd;
}

static int task__unshare(const struct task *task)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	return task__open(task);
}

int namespace__socket(int netns_fd, int protocol)
{
	struct task task = { .run = task__socket, .netns_fd = netns_fd, .protocol = protocol };

	return task__execute(&task);
}

napi_value namespace__open_file(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int32_t netns_fd, flags;
	struct bytes path;

	if (!binding__args(env, info, argv, 3) || !binding__i32(env, argv[0], &netns_fd) ||
	    !binding__bytes(env, argv[1], &path) || !binding__i32(env, argv[2], &flags))
		return NULL;
	if (path.length == 0 || path.data[path.length - 1] != 0)
		return binding__number(env, -EINVAL);

	struct task task = {
		.run = task__open,
		.netns_fd = netns_fd,
		.path = (const char *)path.data,
		.flags = flags,
	};

	return binding__number(env, netns_fd < 0 ? task__open(&task) : task__execute(&task));
}

napi_value namespace__create(napi_env env, napi_callback_info info)
{
	struct task task = {
		.run = task__unshare,
		.netns_fd = -1,
		.path = "/proc/thread-self/ns/net",
		.flags = O_RDONLY,
	};

	(void)info;
	return binding__number(env, task__execute(&task));
}

napi_value namespace__type(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;

	if (!binding__args(env, info, argv, 1) || !binding__i32(env, argv[0], &fd))
		return NULL;

	int type = ioctl(fd, NS_GET_NSTYPE);

	return binding__number(env, type < 0 ? -errno : type);
}

napi_value namespace__of_socket(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;

	if (!binding__args(env, info, argv, 1) || !binding__i32(env, argv[0], &fd))
		return NULL;

	/* The descriptor it makes is close-on-exec. */
	int netns_fd = ioctl(fd, SIOCGSKNS);

	return binding__number(env, netns_fd < 0 ? -errno : netns_fd);
}
