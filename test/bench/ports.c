/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many ports a masquerading node has for one destination, and what each costs: datagrams from one local port after the
 * other to the same address and port, each of which has to be answered.
 *
 * ports CPU serve FIRST COUNT  answers at so many ports, prints `listening`, until killed
 * ports CPU fill ADDRESS PORT FIRST LAST SKIP
 *         prints the nanoseconds of each round trip until one gets no answer; leaves out multiples of SKIP, if that is not 0
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include "pinned.h"

#define PORTS_MAX 256
/* No answer in this time is none: nobody else is on this CPU. */
#define WAIT_MS 500

static void serve(int first, int count)
{
	struct pollfd fds[PORTS_MAX] = {};

	if (count > PORTS_MAX)
		count = PORTS_MAX;
	for (int i = 0; i < count; i++) {
		struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(first + i) };

		fds[i].fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		fds[i].events = POLLIN;
		if (fds[i].fd < 0 || bind(fds[i].fd, (struct sockaddr *)&any, sizeof(any)))
			die("bind");
	}
	puts("listening");
	fflush(stdout);
	while (poll(fds, count, -1) > 0) {
		for (int i = 0; i < count; i++) {
			struct sockaddr_storage from;
			socklen_t size = sizeof(from);
			char byte;

			if ((fds[i].revents & POLLIN) &&
			    recvfrom(fds[i].fd, &byte, 1, 0, (struct sockaddr *)&from, &size) == 1)
				sendto(fds[i].fd, &byte, 1, 0, (struct sockaddr *)&from, size);
		}
	}
}

/* Nanoseconds, or -1 for no answer. */
static long long round_trip(const struct addrinfo *to, int local_port)
{
	struct sockaddr_storage local = { .ss_family = to->ai_family };
	long long start, ns = -1;
	struct pollfd answer;
	char byte = 'x';

	/* Where the port stands is the same in both families. */
	((struct sockaddr_in *)&local)->sin_port = htons(local_port);
	answer.fd = socket(to->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	answer.events = POLLIN;
	if (answer.fd < 0 || bind(answer.fd, (struct sockaddr *)&local, to->ai_addrlen) ||
	    connect(answer.fd, to->ai_addr, to->ai_addrlen))
		die("bind");
	start = now();
	if (send(answer.fd, &byte, 1, 0) == 1 && poll(&answer, 1, WAIT_MS) == 1 &&
	    recv(answer.fd, &byte, 1, 0) == 1)
		ns = now() - start;
	close(answer.fd);
	return ns;
}

static void fill(const char *address, const char *port, int first, int last, int skip)
{
	struct addrinfo *to, hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM };

	if (getaddrinfo(address, port, &hints, &to))
		die(address);
	for (int local = first; local <= last; local++) {
		long long ns;

		if (skip && local % skip == 0)
			continue;
		ns = round_trip(to, local);
		if (ns < 0)
			break;
		printf("%lld\n", ns);
	}
	freeaddrinfo(to);
}

int main(int argc, char **argv)
{
	if (argc > 1)
		pin(atoi(argv[1]));
	if (argc == 5 && !strcmp(argv[2], "serve"))
		serve(atoi(argv[3]), atoi(argv[4]));
	else if (argc == 8 && !strcmp(argv[2], "fill"))
		fill(argv[3], argv[4], atoi(argv[5]), atoi(argv[6]), atoi(argv[7]));
	else
		return fputs("ports CPU serve FIRST COUNT | ports CPU fill ADDRESS PORT FIRST LAST SKIP\n",
			     stderr),
		       2;
	return 0;
}
