// SPDX-License-Identifier: MIT
/* From file to pipe to file, and through tee. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <unistd.h>

#include "uring.h"

static unsigned int splice_request(struct uring *u, int from, int64_t from_at, int to, int64_t to_at,
				   unsigned int len)
{
	struct io_uring_sqe *sqe = uring_put(u, IORING_OP_SPLICE, to, NULL, len, to_at);
	int res;

	sqe->splice_fd_in = from;
	sqe->splice_off_in = from_at;
	uring_collect(u, &res);
	must(res > 0);
	return res;
}

WAY("uring-splice")
{
	int from = make_file("from", 40000), to = make_file("to", 100), also = make_file("also", 100);
	int one[2], two[2], res;
	struct io_uring_sqe *sqe;
	struct uring u;
	unsigned int n;

	need(pipe(one));
	need(pipe(two));
	uring_open(&u, 8, 0);
	for (unsigned int at = 0; at < 40000; at += n) {
		n = splice_request(&u, from, at, one[1], -1, 7000);
		sqe = uring_put(&u, IORING_OP_TEE, two[1], NULL, n, 0);
		sqe->splice_fd_in = one[0];
		uring_collect(&u, &res);
		must(res == (int)n);
		must(splice_request(&u, one[0], -1, to, at + 33, n) == n);
		must(splice_request(&u, two[0], -1, also, 2 * at, n) == n);
	}
}
