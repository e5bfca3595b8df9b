/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends frames as they are, one per line of hex on stdin, out of a device: for what a test run refuses.
 * PROTOCOL, in hex: what the socket says they are, whatever they are.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define FRAME_MAX 4096

static int parse_hex(const char *text, unsigned char *frame)
{
	int size = 0;
	unsigned int byte;

	while (size < FRAME_MAX && sscanf(text, "%2x", &byte) == 1) {
		frame[size++] = byte;
		text += 2;
	}
	return size;
}

int main(int argc, char **argv)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET };
	unsigned char frame[FRAME_MAX];
	char line[2 * FRAME_MAX + 2];
	int fd = socket(AF_PACKET, SOCK_RAW, 0);

	if (argc < 2 || argc > 3 || fd < 0) {
		fprintf(stderr, "usage: send_frame DEVICE [PROTOCOL] < frames, as root\n");
		return 2;
	}
	to.sll_ifindex = if_nametoindex(argv[1]);
	while (fgets(line, sizeof(line), stdin)) {
		int size = parse_hex(line, frame);

		if (argc == 3)
			to.sll_protocol = htons(strtoul(argv[2], NULL, 16));
		else if (size >= 14)
			memcpy(&to.sll_protocol, frame + 12, 2);
		/* ENOBUFS: a program on the device's egress dropped it, as it should. */
		if (sendto(fd, frame, size, 0, (struct sockaddr *)&to, sizeof(to)) < 0 &&
		    errno != ENOBUFS) {
			perror(argv[1]);
			return 1;
		}
	}
	return 0;
}
