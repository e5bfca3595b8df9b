/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sending from a thread of its own, for requests that hold their sender long after they are done: removing a device returns
 * only when everybody who might still see it in memory has looked away (an RCU barrier, 5 to 40 ms).
 */
#define _GNU_SOURCE
#include "binding.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STACK_BYTES (256 * 1024)

struct letter {
	napi_threadsafe_function sent;
	int fd; /* ours: the caller may close its own while we are in the kernel */
	int64_t result;
	size_t length;
	uint8_t message[];
};

static void *letter__main(void *argument)
{
	struct letter *letter = argument;
	napi_threadsafe_function sent = letter->sent;
	ssize_t n;

	do {
		n = send(letter->fd, letter->message, letter->length, MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	letter->result = n < 0 ? -errno : n;
	close(letter->fd);
	/* From here on the letter is the callback's. A refusal means that the environment ends, and the function with it. */
	if (napi_call_threadsafe_function(sent, letter, napi_tsfn_nonblocking) == napi_ok)
		napi_release_threadsafe_function(sent, napi_tsfn_release);
	else
		free(letter);
	return NULL;
}

static void letter__delivered(napi_env env, napi_value callback, void *context, void *data)
{
	struct letter *letter = data;
	napi_value receiver, result;

	(void)context;
	if (env && napi_get_global(env, &receiver) == napi_ok) {
		result = binding__number(env, letter->result);
		napi_call_function(env, receiver, callback, 1, &result, NULL);
	}
	free(letter);
}

static int letter__post(struct letter *letter)
{
	pthread_attr_t attributes;
	pthread_t thread;
	sigset_t all, before;
	int error;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	/* Node's signals are for its own threads; the mask is inherited. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	error = pthread_create(&thread, &attributes, letter__main, letter);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attributes);
	return -error;
}

napi_value aside__send(napi_env env, napi_callback_info info)
{
	napi_value argv[4], name;
	int32_t fd, length;
	struct bytes message;
	struct letter *letter;
	int result;

	if (!binding__args(env, info, argv, 4) || !binding__i32(env, argv[0], &fd) ||
	    !binding__bytes(env, argv[1], &message) || !binding__i32(env, argv[2], &length))
		return NULL;
	if (length < 0 || (size_t)length > message.length)
		return binding__number(env, -EINVAL);
	letter = malloc(sizeof(*letter) + (size_t)length);
	if (!letter)
		return binding__number(env, -ENOMEM);
	memcpy(letter->message, message.data, (size_t)length);
	letter->length = (size_t)length;
	letter->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (letter->fd < 0) {
		result = -errno;
		goto free_letter;
	}
	napi_create_string_utf8(env, "netlink", NAPI_AUTO_LENGTH, &name);
	if (napi_create_threadsafe_function(env, argv[3], NULL, name, 0, 1, NULL, NULL, NULL,
					    letter__delivered, &letter->sent) != napi_ok) {
		result = -ENOMEM;
		goto close_fd;
	}
	result = letter__post(letter);
	if (result == 0)
		return binding__number(env, 0);
	napi_release_threadsafe_function(letter->sent, napi_tsfn_abort);
close_fd:
	close(letter->fd);
free_letter:
	free(letter);
	return binding__number(env, result);
}
