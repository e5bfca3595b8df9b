/* SPDX-License-Identifier: Apache-2.0 */
/* `ethtool -K DEVICE tx off`: what is sent by it has its checksums. */
#include <linux/ethtool.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ethtool_value value = { .cmd = ETHTOOL_STXCSUM };
	struct ifreq request = {};

	if (argc != 2 || fd < 0) {
		fprintf(stderr, "usage: offload DEVICE, as root\n");
		return 2;
	}
	strncpy(request.ifr_name, argv[1], IFNAMSIZ - 1);
	request.ifr_data = (void *)&value;
	if (ioctl(fd, SIOCETHTOOL, &request)) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
