// SPDX-License-Identifier: MIT
/* drain [TIMES]: waits until whoever is to have the record has all that was recorded so far. */
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>

#include "lemona_abi.h"

int main(int argc, char **argv)
{
	int fd = open("/dev/lemona", O_RDWR);

	for (int left = argc > 1 ? atoi(argv[1]) : 1; left > 0; left--) {
		if (fd < 0 || ioctl(fd, LEMONA_IOC_DRAIN))
			err(1, "/dev/lemona");
	}
	return 0;
}
