/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Load between two pods, with both ends on one CPU: what is done per second of the clock is then done per second of that CPU,
 * whoever the kernel charges for it.
 *
 * load CPU serve                       listens for all three kinds, prints `listening`, until killed
 * load CPU rr|short|stream ADDRESS MS  prints `COUNT NANOSECONDS`; COUNT is round trips, connections or bytes
 *
 * rr: one byte each way over one TCP connection. short: connect, one byte each way, close. stream: one way.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "pinned.h"

#define PORT 7001
#define CHUNK (256 << 10)

enum kind { RR, SHORT, STREAM, KINDS };
static const char *const kinds[KINDS] = { "rr", "short", "stream" };
static char chunk[CHUNK];

static void no_delay(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void talk(int fd, enum kind kind)
{
	char byte;

	no_delay(fd);
	switch (kind) {
	case RR:
		while (read(fd, &byte, 1) == 1)
			if (write(fd, &byte, 1) != 1)
				break;
		break;
	case SHORT:
		/* This end closes first, so that the client's ports are free at once. */
		if (read(fd, &byte, 1) == 1 && write(fd, &byte, 1) != 1)
			perror("load: write");
		break;
	default:
		while (read(fd, chunk, CHUNK) > 0)
			;
	}
	close(fd);
}

static int listener(enum kind kind)
{
	struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(PORT + kind) };
	int one = 1, fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&any, sizeof(any)) || listen(fd, 128))
		die("listen");
	return fd;
}

static void serve(void)
{
	int listeners[KINDS];

	for (enum kind kind = 0; kind < KINDS; kind++)
		listeners[kind] = listener(kind);
	puts("listening");
	fflush(stdout);
	for (enum kind kind = 0; kind < KINDS; kind++) {
		if (fork())
			continue;
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int fd = accept4(listeners[kind], NULL, NULL, SOCK_CLOEXEC);

			if (fd >= 0)
				talk(fd, kind);
		}
	}
	while (wait(NULL) > 0)
		;
}

static int dial(const char *address, enum kind kind)
{
	char port[8];
	struct addrinfo *found, hints = { .ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM };
	int fd;

	snprintf(port, sizeof(port), "%d", PORT + kind);
	if (getaddrinfo(address, port, &hints, &found))
		die(address);
	fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, found->ai_addr, found->ai_addrlen))
		die("connect");
	freeaddrinfo(found);
	no_delay(fd);
	return fd;
}

static void round_trip(int fd)
{
	char byte = 'x';

	if (write(fd, &byte, 1) != 1 || read(fd, &byte, 1) != 1)
		die("round trip");
}

static long long once(const char *address, enum kind kind, int fd)
{
	char byte;
	ssize_t n;

	switch (kind) {
	case RR:
		round_trip(fd);
		return 1;
	case SHORT:
		fd = dial(address, kind);
		round_trip(fd);
		if (read(fd, &byte, 1) != 0)
			die("the other end did not close");
		close(fd);
		return 1;
	default:
		n = write(fd, chunk, CHUNK);
		if (n < 0)
			die("write");
		return n;
	}
}

static void drive(const char *address, enum kind kind, int ms)
{
	int fd = kind == SHORT ? -1 : dial(address, kind);
	long long count = 0, start, ns;

	/* Flows are known and windows open before the clock starts. */
	for (start = now(); now() - start < ms * 100000LL;)
		once(address, kind, fd);
	start = now();
	do {
		for (int i = 0; i < 16; i++)
			count += once(address, kind, fd);
		ns = now() - start;
	} while (ns < ms * 1000000LL);
	printf("%lld %lld\n", count, ns);
}

int main(int argc, char **argv)
{
	signal(SIGPIPE, SIG_IGN);
	if (argc == 3 && !strcmp(argv[2], "serve")) {
		pin(atoi(argv[1]));
		serve();
		return 0;
	}
	for (enum kind kind = 0; argc == 5 && kind < KINDS; kind++)
		if (!strcmp(argv[2], kinds[kind])) {
			pin(atoi(argv[1]));
			drive(argv[3], kind, atoi(argv[4]));
			return 0;
		}
	return fputs("load CPU serve | load CPU rr|short|stream ADDRESS MS\n", stderr), 2;
}
