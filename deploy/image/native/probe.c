/* `sinabro-probe healthz|readyz`: asks the agent over its socket, for a kubelet that asks again and again; exit code 0 if it says yes. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET "/run/sinabro/agent.sock"
#define MOST 2048

static int fail(const char *what)
{
	perror(what);
	return 1;
}

int main(int argc, char **argv)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX, .sun_path = SOCKET };
	struct timeval patience = { .tv_sec = 4 };
	char text[MOST + 1];
	size_t length = 0;
	ssize_t got;

	if (argc != 2 || (strcmp(argv[1], "healthz") && strcmp(argv[1], "readyz"))) {
		fprintf(stderr, "usage: sinabro-probe healthz|readyz\n");
		return 2;
	}
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return fail("socket");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)))
		return fail(SOCKET);
	int asked = snprintf(text, sizeof(text),
			     "GET /v1/%s HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n", argv[1]);

	if (write(fd, text, asked) != asked)
		return fail(SOCKET);
	while (length < MOST && (got = read(fd, text + length, MOST - length)) > 0)
		length += got;
	text[length] = '\0';
	if (!strncmp(text, "HTTP/1.1 200 ", 13))
		return 0;
	/* What it waits for: the kubelet shows it in the pod's events. */
	char *body = strstr(text, "\r\n\r\n");

	fprintf(stderr, "%s", length == 0 ? "no answer\n" : body ? body + 4 : text);
	return 1;
}
