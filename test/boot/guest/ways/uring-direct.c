// SPDX-License-Identifier: MIT
/* Direct writes: from a mapping of another file, which changes meanwhile; and those that must not wait. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uring.h"

#define PAGES 16

WAY("uring-direct")
{
	int from = make_file("from", PAGES * PAGE), direct;
	char *map = map_file(from, PAGES * PAGE);
	struct uring u;

	need(close(make_file("to", 2 * PAGES * PAGE)));
	direct = need(open("to", O_RDWR | O_DIRECT));
	uring_open(&u, 32, 0);
	do {
		for (int i = 0; i < 8; i++) {
			struct io_uring_sqe *sqe = uring_put(&u, IORING_OP_WRITE, direct,
							     map + PAGE * below(PAGES - 4),
							     PAGE * (1 + below(4)), PAGE * below(2 * PAGES));

			if (below(2))
				sqe->flags = IOSQE_ASYNC;
		}
		for (int i = 0; i < 100; i++)
			map[below(PAGES * PAGE)] = below(256);
		uring_run(&u);
	} while (going());
}

static void write_unwaiting(unsigned int ring_flags)
{
	static char block[PAGE] __attribute__((aligned(4096)));
	int direct = need(open("f", O_RDWR | O_CREAT | O_DIRECT, 0600));
	struct uring u;

	fill(block, PAGE);
	uring_open(&u, 16, ring_flags);
	for (int i = 0; i < 10; i++)
		uring_put(&u, IORING_OP_WRITE, direct, block, PAGE, PAGE * i)->rw_flags = RWF_NOWAIT;
	uring_run(&u);
	uring_close(&u);
	need(close(direct));
}

/* By a ring that is told of the end, and by one that polls the disk. */
WAY("uring-direct-nowait")
{
	write_unwaiting(0);
	write_unwaiting(IORING_SETUP_IOPOLL);
}
