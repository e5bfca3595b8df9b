/* SPDX-License-Identifier: Apache-2.0 */
/* Netlink sockets: open, bind, send, receive and options, one quick system call each. */
#include "binding.h"

#include <errno.h>
#include <linux/netlink.h>
#include <sys/socket.h>
#include <unistd.h>

napi_value socket__open(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t protocol, netns_fd;
	int fd;

	if (!binding__args(env, info, argv, 2) || !binding__i32(env, argv[0], &protocol) ||
	    !binding__i32(env, argv[1], &netns_fd))
		return NULL;
	if (netns_fd >= 0) {
		fd = namespace__socket(netns_fd, protocol);
	} else {
		fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
		if (fd < 0)
			fd = -errno;
	}
	return binding__number(env, fd);
}

napi_value socket__bind(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t fd, groups;

	if (!binding__args(env, info, argv, 2) || !binding__i32(env, argv[0], &fd) ||
	    !binding__i32(env, argv[1], &groups))
		return NULL;

	struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = (uint32_t)groups };
	int result = bind(fd, (struct sockaddr *)&address, sizeof(address));

	return binding__number(env, result < 0 ? -errno : 0);
}

napi_value socket__send(napi_env env, napi_callback_info info)
{
	napi_value argv[3];
	int32_t fd, length;
	struct bytes message;
	ssize_t sent;

	if (!binding__args(env, info, argv, 3) || !binding__i32(env, argv[0], &fd) ||
	    !binding__bytes(env, argv[1], &message) || !binding__i32(env, argv[2], &length))
		return NULL;
	if (length < 0 || (size_t)length > message.length)
		return binding__number(env, -EINVAL);
	do {
		/* An unconnected netlink socket sends to port 0, which is the kernel. */
		sent = send(fd, message.data, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL);
	} while (sent < 0 && errno == EINTR);
	return binding__number(env, sent < 0 ? -errno : sent);
}

napi_value socket__receive(napi_env env, napi_callback_info info)
{
	napi_value argv[2];
	int32_t fd;
	struct bytes into;
	struct sockaddr_nl sender;
	socklen_t sender_length;
	ssize_t received;

	if (!binding__args(env, info, argv, 2) || !binding__i32(env, argv[0], &fd) ||
	    !binding__bytes(env, argv[1], &into))
		return NULL;
	do {
		sender = (struct sockaddr_nl){ 0 };
		sender_length = sizeof(sender);
		received = recvfrom(fd, into.data, into.length, MSG_DONTWAIT | MSG_TRUNC,
				    (struct sockaddr *)&sender, &sender_length);
		/* Other processes may send to our port; only port 0 is the kernel. */
	} while ((received < 0 && errno == EINTR) || (received >= 0 && sender.nl_pid != 0));
	return binding__number(env, received < 0 ? -errno : received);
}

napi_value socket__set_option(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	int32_t fd, level, option, value;

	if (!binding__args(env, info, argv, 4) || !binding__i32(env, argv[0], &fd) ||
	    !binding__i32(env, argv[1], &level) || !binding__i32(env, argv[2], &option) ||
	    !binding__i32(env, argv[3], &value))
		return NULL;

	int result = setsockopt(fd, level, option, &value, sizeof(value));

	return binding__number(env, result < 0 ? -errno : 0);
}

napi_value socket__get_option(napi_env env, napi_callback_info info)
{
	napi_value argv[4];
	int32_t fd, level, option;
	struct bytes into;

	if (!binding__args(env, info, argv, 4) || !binding__i32(env, argv[0], &fd) ||
	    !binding__i32(env, argv[1], &level) || !binding__i32(env, argv[2], &option) ||
	    !binding__bytes(env, argv[3], &into))
		return NULL;

	socklen_t length = (socklen_t)into.length;
	int result = getsockopt(fd, level, option, into.data, &length);

	return binding__number(env, result < 0 ? -errno : (int64_t)length);
}

napi_value socket__close(napi_env env, napi_callback_info info)
{
	napi_value argv[1];
	int32_t fd;

	if (!binding__args(env, info, argv, 1) || !binding__i32(env, argv[0], &fd))
		return NULL;
	return binding__number(env, close(fd) < 0 ? -errno : 0);
}
