// SPDX-License-Identifier: MIT
/* A kernel thread takes the requests: the program makes no call for most of them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "uring.h"

WAY("uring-sqpoll")
{
	static char text[6000];
	int fd = make_file("f", 10);
	struct uring u;

	uring_open(&u, 32, IORING_SETUP_SQPOLL);
	do {
		fill(text, 100);
		for (int i = 0; i < 8; i++)
			uring_put(&u, IORING_OP_WRITE, fd, text + below(100), 1 + below(5900), below(40000));
		uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "d", 0700, 0)->flags = IOSQE_IO_HARDLINK;
		uring_put(&u, IORING_OP_UNLINKAT, AT_FDCWD, "d", 0, 0)->unlink_flags = AT_REMOVEDIR;
		uring_run(&u);
		/* Long enough for the thread to fall asleep now and then. */
		if (below(4) == 0)
			pause_us(60000);
	} while (going());
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "kept", 0711, 0);
	uring_run(&u);
}
