/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in the place of a CNI plug-in and times each call of it, from exec to exit.
 *
 * The plug-in itself is BESIDE/NAME, where NAME is what this program is called. After each call a line is added to CLOCK: the verb,
 * and the nanoseconds. Exits as the plug-in did.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BESIDE "/opt/cni/bin/.timed"
#define CLOCK "/run/plugin-clock"

extern char **environ;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *verb = getenv("CNI_COMMAND");
	char path[256], line[64];
	long long start = now();
	int status, bytes, log;
	pid_t pid;

	(void)argc;
	snprintf(path, sizeof(path), BESIDE "/%s", name ? name + 1 : argv[0]);
	errno = posix_spawn(&pid, path, NULL, NULL, argv, environ);
	if (errno || waitpid(pid, &status, 0) < 0) {
		perror(path);
		return 1;
	}
	bytes = snprintf(line, sizeof(line), "%.16s %lld\n", verb ? verb : "-", now() - start);
	log = open(CLOCK, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0 || write(log, line, bytes) != bytes) {
		perror(CLOCK);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
