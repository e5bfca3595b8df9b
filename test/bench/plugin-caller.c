/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Calls a program as a container runtime calls a CNI plug-in, many times, and times each call from spawn to exit.
 *
 * plugin-caller serial|at-once CONFIG PROGRAM < calls
 *
 * Each line of stdin is a call: CNI_CONTAINERID CNI_NETNS. The rest of the environment is our own. CONFIG goes to the program's
 * stdin. Prints the nanoseconds of each call in order (at-once: from the start of all to the end of each), then `total N`.
 * A call that fails ends everything with status 1 and what the program said.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define CALLS_MAX 4096
#define ANSWER_MAX 65536
#define ENVIRONMENT_MAX 256
#define WORD "255"

extern char **environ;

struct call {
	char container[256];
	char netns[256];
	pid_t pid;
	int answer;
	long long start;
	long long ns;
};

static struct call calls[CALLS_MAX];
static char config[ANSWER_MAX];
static ssize_t config_bytes;

static void die(const char *what)
{
	fprintf(stderr, "plugin-caller: %s: %s\n", what, strerror(errno));
	exit(1);
}

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void begin(struct call *call, const char *program)
{
	char container[300], netns[300], args[600];
	char *environment[ENVIRONMENT_MAX + 4];
	char *argv[] = { (char *)program, NULL };
	posix_spawn_file_actions_t files;
	int in[2], out[2], n = 0;

	for (char **one = environ; *one && n < ENVIRONMENT_MAX; one++)
		environment[n++] = *one;
	snprintf(container, sizeof(container), "CNI_CONTAINERID=%s", call->container);
	snprintf(netns, sizeof(netns), "CNI_NETNS=%s", call->netns);
	snprintf(args, sizeof(args),
		 "CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=%.32s",
		 call->container);
	environment[n++] = container;
	environment[n++] = netns;
	environment[n++] = args;
	environment[n] = NULL;

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe");
	/* Fits the pipe, so it cannot block; before the start, because a program need not read it. */
	if (write(in[1], config, config_bytes) != config_bytes)
		die("write to the program");
	close(in[1]);
	posix_spawn_file_actions_init(&files);
	posix_spawn_file_actions_adddup2(&files, in[0], 0);
	posix_spawn_file_actions_adddup2(&files, out[1], 1);
	call->start = now();
	errno = posix_spawn(&call->pid, program, &files, NULL, argv, environment);
	if (errno)
		die(program);
	posix_spawn_file_actions_destroy(&files);
	close(in[0]);
	close(out[1]);
	call->answer = out[0];
}

static void end(struct call *call, const char *program)
{
	static char answer[ANSWER_MAX];
	size_t length = 0;
	ssize_t n;
	int status;

	while ((n = read(call->answer, answer + length, sizeof(answer) - 1 - length)) > 0)
		length += n;
	close(call->answer);
	if (waitpid(call->pid, &status, 0) < 0)
		die("waitpid");
	call->ns = now() - call->start;
	if (status) {
		answer[length] = 0;
		fprintf(stderr, "%s of %s: status %d: %s\n", program, call->container, status, answer);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	long long start;
	int at_once, count = 0, fd;

	if (argc != 4)
		return fputs("plugin-caller serial|at-once CONFIG PROGRAM < calls\n", stderr), 2;
	at_once = !strcmp(argv[1], "at-once");
	fd = open(argv[2], O_RDONLY);
	config_bytes = fd < 0 ? -1 : read(fd, config, sizeof(config));
	if (config_bytes < 0)
		die(argv[2]);
	close(fd);
	while (count < CALLS_MAX &&
	       scanf("%" WORD "s %" WORD "s", calls[count].container, calls[count].netns) == 2)
		count++;

	start = now();
	for (int i = 0; i < count; i++) {
		begin(&calls[i], argv[3]);
		if (!at_once)
			end(&calls[i], argv[3]);
	}
	if (at_once)
		for (int i = 0; i < count; i++) {
			end(&calls[i], argv[3]);
			calls[i].ns = now() - start;
		}
	start = now() - start;
	for (int i = 0; i < count; i++)
		printf("%lld\n", calls[i].ns);
	printf("total %lld\n", start);
	return 0;
}
