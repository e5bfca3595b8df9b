/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How long connect() takes to many services, one after the other on one CPU; each connection is reset at once.
 *
 * connects CPU FIRST SERVICES PORT COUNT   COUNT of the SERVICES addresses from FIRST on, by chance; 0: each of them once
 *
 * Prints `P50 P99` in nanoseconds. Ends with 1 at the first that fails or takes two seconds.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>
#include "pinned.h"

static long long connect_once(const struct sockaddr_in *to)
{
	struct timeval patience = { .tv_sec = 2 };
	struct linger reset = { .l_onoff = 1 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	long long start, ns;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) ||
	    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)))
		die("socket");
	start = now();
	if (connect(fd, (const struct sockaddr *)to, sizeof(*to)))
		die(inet_ntoa(to->sin_addr));
	ns = now() - start;
	close(fd);
	/* On this CPU the server takes it only now; a backlog that is full costs a second. */
	sched_yield();
	return ns;
}

static int by_size(const void *a, const void *b)
{
	long long x = *(const long long *)a, y = *(const long long *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	long services, count, wanted;
	long long *took;
	unsigned first;

	if (argc != 6 || !inet_aton(argv[2], &to.sin_addr))
		return fputs("connects CPU FIRST SERVICES PORT COUNT\n", stderr), 2;
	pin(atoi(argv[1]));
	first = ntohl(to.sin_addr.s_addr);
	services = atol(argv[3]);
	to.sin_port = htons(atoi(argv[4]));
	wanted = atol(argv[5]);
	count = wanted ? wanted : services;
	took = calloc(count, sizeof(*took));
	if (!took || services < 1)
		die("calloc");
	srandom(1);
	for (long i = 0; i < count; i++) {
		to.sin_addr.s_addr = htonl(first + (wanted ? random() % services : i));
		took[i] = connect_once(&to);
	}
	qsort(took, count, sizeof(*took), by_size);
	printf("%lld %lld\n", took[count / 2], took[count * 99 / 100]);
	return 0;
}
