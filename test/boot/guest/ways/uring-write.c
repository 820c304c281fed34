// SPDX-License-Identifier: MIT
/* Plain and gathered writes, at a position, at the file's own, and appending. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uring.h"

WAY("uring-write")
{
	static char a[9000], b[100], c[5000];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
	int fd = make_file("f", 3000), appending = need(open("g", O_CREAT | O_WRONLY | O_APPEND, 0600));
	struct uring u;

	uring_open(&u, 8, 0);
	fill(a, sizeof(a));
	fill(b, sizeof(b));
	fill(c, sizeof(c));
	uring_put(&u, IORING_OP_WRITE, fd, a, sizeof(a), 100);
	uring_put(&u, IORING_OP_WRITEV, fd, iov, 3, 50000);
	uring_put(&u, IORING_OP_WRITE, fd, b, sizeof(b), -1);
	uring_put(&u, IORING_OP_WRITE, appending, c, sizeof(c), 0);
	uring_put(&u, IORING_OP_WRITEV, appending, iov, 2, 0);
	uring_run(&u);
	uring_put(&u, IORING_OP_FSYNC, fd, NULL, 0, 0);
	uring_run(&u);
	while (going()) {
		fill(a, sizeof(a));
		uring_put(&u, IORING_OP_WRITE, fd, a, 1 + below(sizeof(a)), below(60000));
		uring_put(&u, IORING_OP_WRITE, appending, b, 1 + below(sizeof(b)), 0);
		uring_run(&u);
	}
}
