/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands in the place of a CNI plug-in and times each call of it, from exec to exit.
 *
 * The plug-in itself is BESIDE/NAME, where NAME is what this program is called. After each call lines are added to CLOCK, a word and
 * nanoseconds each: the verb, and `empty`, what a program that does nothing took a moment before. Exits as the plug-in did.
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
#define NOTHING "nothing"

extern char **environ;

static long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000000000LL + t.tv_nsec;
}

/* Nanoseconds from exec to exit. */
static long long timed(const char *path, char **argv, int *status)
{
	long long start = now();
	pid_t pid;

	errno = posix_spawn(&pid, path, NULL, NULL, argv, environ);
	if (errno || waitpid(pid, status, 0) < 0) {
		perror(path);
		exit(1);
	}
	return now() - start;
}

int main(int argc, char **argv)
{
	const char *name = strrchr(argv[0], '/'), *verb = getenv("CNI_COMMAND");
	char *nothing[] = { argv[0], NOTHING, NULL };
	char path[256], line[128];
	int status, bytes, log;
	long long empty;

	if (argc == 2 && !strcmp(argv[1], NOTHING))
		return 0;
	empty = timed("/proc/self/exe", nothing, &status);
	snprintf(path, sizeof(path), BESIDE "/%s", name ? name + 1 : argv[0]);
	bytes = snprintf(line, sizeof(line), "%.16s %lld\nempty %lld\n", verb ? verb : "-",
			 timed(path, argv, &status), empty);
	log = open(CLOCK, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log < 0 || write(log, line, bytes) != bytes) {
		perror(CLOCK);
		return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
