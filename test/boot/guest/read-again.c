// SPDX-License-Identifier: MIT
/*
 * Reads /dev/lemona as its first reader, on one CPU, with reads that fail in between: into a buffer that is too short, and
 * to an address where there is nothing. The sub-buffer that such a read was to have must come with the next one, which
 * poll() says beforehand. Ends with
 *
 *   numbers 0 to 3
 *
 * and status 0, or with the first thing that was wrong and status 1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include "lemona_abi.h"

#define LAST 3

static char buffer[LEMONA_SUBBUF_MAX];

static void want_failure(int fd, void *to, size_t size, int wanted)
{
	if (read(fd, to, size) >= 0)
		errx(1, "reading %zu bytes did not fail", size);
	if (errno != wanted)
		err(1, "reading %zu bytes", size);
}

int main(void)
{
	const struct lemona_subbuf *subbuf = (const void *)buffer;
	/* Not exempt: what it does is what there is to read. */
	int fd = open("/dev/lemona", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		err(1, "/dev/lemona");
	for (unsigned int number = 0; number <= LAST; number++) {
		struct pollfd ready = { .fd = fd, .events = POLLIN };

		want_failure(fd, buffer, sizeof(*subbuf) - 1, EMSGSIZE);
		want_failure(fd, NULL, sizeof(buffer), EFAULT);
		if (poll(&ready, 1, 0) != 1)
			errx(1, "sub-buffer %u is to come again, and poll() knows of none", number);
		if (read(fd, buffer, sizeof(buffer)) < (ssize_t)sizeof(*subbuf))
			err(1, "sub-buffer %u", number);
		if (subbuf->number != number)
			errx(1, "sub-buffer %u was to come, and %llu came", number, (unsigned long long)subbuf->number);
	}
	printf("numbers 0 to %d\n", LAST);
	return 0;
}
