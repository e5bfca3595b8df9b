/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening things inside another network namespace.
 *
 * A socket belongs to the namespace its creator was in, and an open sysctl file to the namespace of whoever opened it; the
 * descriptor is good for the whole process. So the calling thread enters, opens, and returns, and no JavaScript ever runs in a
 * foreign namespace: a thread that cannot return ends the process. A thread of its own for each task has nothing to return
 * to, but the caller waits for it to be scheduled twice, which on a busy node takes tens of milliseconds of its event loop.
 */
#define _GNU_SOURCE
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/nsfs.h>
#include <linux/sockios.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Of the calling thread. */
#define OWN "/proc/thread-self/ns/net"

struct task {
	int (*run)(const struct task *task); /* a descriptor or -errno */
	int netns_fd; /* -1: stay */
	int protocol;
	const char *path;
	int flags;
};

/* The caller's own namespace, which it may leave from now on: that it may return to it was tried. Or -errno. */
static int home__open(void)
{
	int fd = open(OWN, O_RDONLY | O_CLOEXEC), error;

	if (fd < 0 || setns(fd, CLONE_NEWNET) == 0)
		return fd < 0 ? -errno : fd;
	error = errno;
	close(fd);
	return -error;
}

/* No memory for one small object is all that can be in the way. */
static void home__return(int fd)
{
	if (setns(fd, CLONE_NEWNET) < 0)
		abort();
	close(fd);
}

static int task__execute(const struct task *task)
{
	int home, result;

	if (task->netns_fd < 0)
		return task->run(task);
	home = home__open();
	if (home < 0)
		return home;
	result = setns(task->netns_fd, CLONE_NEWNET) < 0 ? -errno : task->run(task);
	home__return(home);
	return result;
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

	return binding__number(env, task__execute(&task));
}

napi_value namespace__create(napi_env env, napi_callback_info info)
{
	const struct task open_own = { .path = OWN, .flags = O_RDONLY };
	int home = home__open(), netns_fd;

	(void)info;
	if (home < 0)
		return binding__number(env, home);
	netns_fd = unshare(CLONE_NEWNET) < 0 ? -errno : task__open(&open_own);
	home__return(home);
	return binding__number(env, netns_fd);
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
