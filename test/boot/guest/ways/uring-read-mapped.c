// SPDX-License-Identifier: MIT
/* The kernel stores to a shared mapping: reads of another file, buffered and direct, by caller and workers. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uring.h"

#define PAGES 16

WAY("uring-read-mapped")
{
	int from = make_file("from", PAGES * PAGE), to = make_file("to", PAGES * PAGE), direct;
	char *map = map_file(to, PAGES * PAGE);
	struct iovec iov = { map, PAGES * PAGE };
	struct uring u;

	need(fsync(from));
	direct = need(open("from", O_RDONLY | O_DIRECT));
	uring_open(&u, 32, 0);
	/* A lasting pin would let the kernel store without a fault: it is refused for files. */
	must(uring_register(&u, IORING_REGISTER_BUFFERS, &iov, 1) < 0);
	do {
		for (int i = 0; i < 12; i++) {
			unsigned int page = below(PAGES - 1);
			struct io_uring_sqe *sqe;

			if (below(2))
				sqe = uring_put(&u, IORING_OP_READ, direct, map + page * PAGE, PAGE,
						PAGE * below(PAGES - 1));
			else
				sqe = uring_put(&u, IORING_OP_READ, from, map + page * PAGE + below(PAGE),
						1 + below(PAGE), below(PAGES * PAGE - PAGE));
			if (below(3) == 0)
				sqe->flags = IOSQE_ASYNC;
		}
		uring_run(&u);
	} while (going());
}
