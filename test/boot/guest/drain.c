// SPDX-License-Identifier: MIT
/* drain: waits until whoever is to have the record has all that was recorded so far. */
#include <err.h>
#include <fcntl.h>
#include <sys/ioctl.h>

#include "lemona_abi.h"

int main(void)
{
	int fd = open("/dev/lemona", O_RDWR);

	if (fd < 0 || ioctl(fd, LEMONA_IOC_DRAIN))
		err(1, "/dev/lemona");
	return 0;
}
