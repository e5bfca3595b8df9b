// The wire of a device without Ethernet header: what is sent on a tun device goes as UDP datagrams to another machine, and back.
// tun DEVICE LOCAL REMOTE (IPv6 addresses); says `ready` when the device carries packets, and goes on until it is ended.
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 5003, LONGEST = 65536 };

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static int open_tun(const char *name)
{
	struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail("/dev/net/tun");
	snprintf(request.ifr_name, sizeof(request.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &request) < 0)
		fail(name);
	return fd;
}

static struct sockaddr_in6 end(const char *address)
{
	struct sockaddr_in6 end = { .sin6_family = AF_INET6, .sin6_port = htons(PORT) };

	if (inet_pton(AF_INET6, address, &end.sin6_addr) != 1)
		fail(address);
	return end;
}

static int open_wire(const char *local, const char *remote)
{
	struct sockaddr_in6 from = end(local), to = end(remote);
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || bind(fd, (void *)&from, sizeof(from)) < 0 || connect(fd, (void *)&to, sizeof(to)) < 0)
		fail("the wire");
	return fd;
}

/* A packet that cannot be passed on is lost, as on any wire: the other end may not be there yet. */
static void pass(int from, int to)
{
	static char packet[LONGEST];
	ssize_t length = read(from, packet, sizeof(packet));

	if (length > 0 && write(to, packet, length) < 0)
		return;
}

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;

	int tun = open_tun(argv[1]), wire = open_wire(argv[2], argv[3]);
	struct pollfd ends[] = { { .fd = tun, .events = POLLIN }, { .fd = wire, .events = POLLIN } };

	puts("ready");
	fflush(stdout);
	while (poll(ends, 2, -1) > 0) {
		if (ends[0].revents)
			pass(tun, wire);
		if (ends[1].revents)
			pass(wire, tun);
	}
	fail("poll");
}
