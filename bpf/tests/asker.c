/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs inside a namespace of socket-world.ts. `asker serve ADDRESS PORT…`: says its own address to whoever asks, by
 * TCP and UDP. `asker ask`: does what the lines it reads say, with sockets, and says a line about each.
 *
 *   tcp FAMILY ADDRESS PORT      connects, reads           → PEER PORT SAID
 *   fast FAMILY ADDRESS PORT     connects by its first data → the same
 *   again FAMILY ADDRESS PORT ADDRESS PORT   one TCP socket, two connections → of the second
 *   connects FAMILY ADDRESS PORT COUNT   begins to connect so many TCP sockets, and closes each → COUNT
 *   udp ID FAMILY                opens an unconnected socket; FAMILY 66: 6 without IPv4
 *   connect ID ADDRESS PORT                                → PEER PORT
 *   disconnect ID                                          → the errno that getpeername() gives
 *   send ID [ADDRESS PORT]       sends and leaves it at that
 *   ask ID [ADDRESS PORT]        sends and waits            → FROM PORT SAID
 *   bind ID ADDRESS PORT
 *   hear ID                      waits                      → FROM PORT SAID
 *
 * An error is its name.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS 64
#define WAIT_SEC 10
#define SAID_BYTES 64

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static socklen_t address__parse(union address *to, const char *text, const char *port)
{
	memset(to, 0, sizeof(*to));
	if (inet_pton(AF_INET, text, &to->v4.sin_addr) == 1) {
		to->v4.sin_family = AF_INET;
		to->v4.sin_port = htons(atoi(port));
		return sizeof(to->v4);
	}
	if (inet_pton(AF_INET6, text, &to->v6.sin6_addr) != 1)
		exit(2);
	to->v6.sin6_family = AF_INET6;
	to->v6.sin6_port = htons(atoi(port));
	return sizeof(to->v6);
}

static void print_address(const union address *at)
{
	char text[INET6_ADDRSTRLEN] = "?";
	int port;

	if (at->any.sa_family == AF_INET) {
		inet_ntop(AF_INET, &at->v4.sin_addr, text, sizeof(text));
		port = ntohs(at->v4.sin_port);
	} else {
		inet_ntop(AF_INET6, &at->v6.sin6_addr, text, sizeof(text));
		port = ntohs(at->v6.sin6_port);
	}
	printf("%s %d", text, port);
}

static void print_error(void)
{
	printf("%s\n", strerrorname_np(errno));
}

static int open_socket(const char *family, int type)
{
	struct timeval wait = { .tv_sec = WAIT_SEC };
	int fd = socket(*family == '4' ? AF_INET : AF_INET6, type | SOCK_CLOEXEC, 0), one = 1;

	if (fd < 0)
		exit(3);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	if (!strcmp(family, "66"))
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	return fd;
}

static void print_peer(int fd)
{
	union address peer;
	socklen_t length = sizeof(peer);

	if (getpeername(fd, &peer.any, &length) < 0)
		printf("%s", strerrorname_np(errno));
	else
		print_address(&peer);
}

static void tcp(const char *family, const char *text, const char *port, const char *then_text,
		const char *then_port, int is_fast)
{
	int fd = open_socket(family, SOCK_STREAM);
	char said[SAID_BYTES] = "";
	union address to;
	socklen_t length = address__parse(&to, text, port);

	if (then_text) {
		union address nobody = { .any.sa_family = AF_UNSPEC };

		if (connect(fd, &to.any, length) < 0)
			exit(4);
		connect(fd, &nobody.any, sizeof(nobody));
		length = address__parse(&to, then_text, then_port);
	}
	if ((is_fast ? sendto(fd, "?", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &to.any, length) :
		       connect(fd, &to.any, length)) < 0) {
		print_error();
	} else {
		print_peer(fd);
		/* Of what the server says, all. */
		if (recv(fd, said, sizeof(said) - 1, MSG_WAITALL) < 0)
			strcpy(said, "nothing");
		printf(" %s\n", said);
	}
	close(fd);
}

static void begin_connects(const char *family, const char *text, const char *port, int count)
{
	union address to;
	socklen_t length = address__parse(&to, text, port);
	int i;

	for (i = 0; i < count; i++) {
		int fd = open_socket(family, SOCK_STREAM | SOCK_NONBLOCK);

		connect(fd, &to.any, length);
		close(fd);
	}
	printf("%d\n", count);
}

static void hear(int fd)
{
	char said[SAID_BYTES] = "";
	union address from;
	socklen_t length = sizeof(from);

	if (recvfrom(fd, said, sizeof(said) - 1, 0, &from.any, &length) < 0) {
		print_error();
		return;
	}
	print_address(&from);
	printf(" %s\n", said);
}

static void ask(int fd, const char *text, const char *port, int is_heard)
{
	union address to;
	socklen_t length = text ? address__parse(&to, text, port) : 0;

	if (sendto(fd, "?", 1, 0, text ? &to.any : NULL, length) < 0)
		print_error();
	else if (is_heard)
		hear(fd);
	else
		printf("sent\n");
}

static void obey(char *line, int *sockets)
{
	char *words[8] = { NULL }, *rest = line;
	union address to;
	int count = 0, *fd;
	socklen_t length;

	while (count < 7 && (words[count] = strsep(&rest, " \n")) != NULL)
		if (*words[count] != 0)
			count++;
	words[count] = NULL;
	if (count < 2)
		exit(2);
	if (!strcmp(words[0], "tcp") || !strcmp(words[0], "fast") || !strcmp(words[0], "again")) {
		tcp(words[1], words[2], words[3], words[4], words[5], *words[0] == 'f');
		return;
	}
	if (!strcmp(words[0], "connects")) {
		begin_connects(words[1], words[2], words[3], atoi(words[4]));
		return;
	}
	fd = &sockets[atoi(words[1]) % SOCKETS];
	if (!strcmp(words[0], "udp")) {
		if (*fd > 0)
			close(*fd);
		*fd = open_socket(words[2], SOCK_DGRAM);
		printf("open\n");
	} else if (!strcmp(words[0], "connect") || !strcmp(words[0], "bind")) {
		length = address__parse(&to, words[2], words[3]);
		if ((*words[0] == 'c' ? connect(*fd, &to.any, length) : bind(*fd, &to.any, length)) < 0) {
			print_error();
		} else {
			print_peer(*fd);
			printf("\n");
		}
	} else if (!strcmp(words[0], "disconnect")) {
		memset(&to, 0, sizeof(to));
		connect(*fd, &to.any, sizeof(to));
		print_peer(*fd);
		printf("\n");
	} else if (!strcmp(words[0], "hear")) {
		hear(*fd);
	} else {
		ask(*fd, words[2], words[3], !strcmp(words[0], "ask"));
	}
}

static void serve(char **arguments, int count)
{
	struct pollfd watched[SOCKETS] = { 0 };
	const char *names[SOCKETS];
	int fds = 0, i, one = 1, queue = 16;

	for (i = 0; i + 1 < count && fds + 1 < SOCKETS; i += 2) {
		const char *family = strchr(arguments[i], ':') ? "66" : "4";
		union address at;
		socklen_t length = address__parse(&at, arguments[i], arguments[i + 1]);
		int type;

		for (type = SOCK_STREAM; type <= SOCK_DGRAM; type++) {
			int fd = open_socket(family, type);

			setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
			if (bind(fd, &at.any, length) < 0) {
				perror(arguments[i]);
				exit(1);
			}
			if (type == SOCK_STREAM) {
				setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue));
				listen(fd, queue);
			}
			names[fds] = arguments[i];
			watched[fds++] = (struct pollfd){ .fd = fd, .events = POLLIN };
		}
	}
	printf("listening\n");
	while (poll(watched, fds, -1) > 0) {
		for (i = 0; i < fds; i++) {
			union address from;
			socklen_t length = sizeof(from);
			char heard[SAID_BYTES];

			if (!(watched[i].revents & POLLIN))
				continue;
			if (i % 2 == 0) {
				int peer = accept(watched[i].fd, NULL, NULL);

				send(peer, names[i], strlen(names[i]), MSG_NOSIGNAL);
				/* What came is read, or closing were a reset. */
				recv(peer, heard, sizeof(heard), MSG_DONTWAIT);
				shutdown(peer, SHUT_WR);
				recv(peer, heard, sizeof(heard), 0);
				close(peer);
			} else if (recvfrom(watched[i].fd, heard, sizeof(heard), 0, &from.any,
					    &length) >= 0) {
				sendto(watched[i].fd, names[i], strlen(names[i]), 0, &from.any, length);
			}
		}
	}
}

int main(int argc, char **argv)
{
	int sockets[SOCKETS] = { 0 };
	char line[256];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (argc > 1 && !strcmp(argv[1], "serve")) {
		serve(argv + 2, argc - 2);
		return 1;
	}
	printf("asking\n");
	while (fgets(line, sizeof(line), stdin))
		obey(line, sockets);
	return 0;
}
