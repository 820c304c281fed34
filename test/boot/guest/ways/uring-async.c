// SPDX-License-Identifier: MIT
/* Requests that the ring's own workers carry out, over each other and in no order. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "uring.h"

#define FILES 6

WAY("uring-async")
{
	static char text[20000];
	char name[FILES][8];
	int fds[FILES], res[32], n;
	struct uring u;

	uring_open(&u, 64, 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(name[i], sizeof(name[i]), "f%d", i);
		fds[i] = make_file(name[i], 1000);
	}
	do {
		n = 1 + below(30);
		fill(text, 64);
		for (int i = 0; i < n; i++) {
			int f = below(FILES);

			if (below(8) == 0)
				uring_put(&u, OP_FTRUNCATE, fds[f], NULL, 0, below(60000));
			else
				uring_put(&u, IORING_OP_WRITE, fds[f], text + below(64),
					  1 + below(sizeof(text) - 64), below(50000));
			u.sqes[(*u.sq_tail + u.queued - 1) & u.sq_mask].flags = IOSQE_ASYNC;
		}
		uring_put(&u, IORING_OP_RENAMEAT, AT_FDCWD, name[below(FILES)], AT_FDCWD,
			  (uintptr_t)name[below(FILES)])->flags = IOSQE_ASYNC;
		uring_collect(&u, res);
		/* The name to move may be gone. */
		for (int i = 0; i < n; i++)
			must(res[i] >= 0);
	} while (going());
}
