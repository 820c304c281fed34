// SPDX-License-Identifier: MIT
/* Direct writes whose source is a mapping of another file, which changes meanwhile. */
#define _GNU_SOURCE
#include <fcntl.h>
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
