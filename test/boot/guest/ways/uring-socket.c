// SPDX-License-Identifier: MIT
/* What is sent through a socket pair lands in a mapped file, or is written on. */
#define _GNU_SOURCE
#include <sys/socket.h>
#include <unistd.h>

#include "uring.h"

WAY("uring-socket")
{
	int fd = make_file("mapped", 4 * PAGE), to = make_file("written", 10), pair[2], res[3];
	char *map = map_file(fd, 4 * PAGE);
	static char text[3000], got[3000];
	struct iovec iov = { map + PAGE - 500, 3000 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	struct uring u;

	uring_open(&u, 8, 0);
	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	do {
		fill(text, sizeof(text));
		uring_put(&u, IORING_OP_SEND, pair[0], text, 3000, 0);
		uring_put(&u, IORING_OP_RECV, pair[1], map + below(3 * PAGE), 3000, 0);
		uring_collect(&u, res);
		must(res[0] == 3000 && res[1] == 3000);
		uring_put(&u, IORING_OP_SEND, pair[0], text, 2000, 0);
		uring_put(&u, IORING_OP_RECVMSG, pair[1], &msg, 1, 0);
		uring_collect(&u, res);
		must(res[0] == 2000 && res[1] == 2000);
		uring_put(&u, IORING_OP_SEND, pair[0], text, 1000, 0);
		uring_put(&u, IORING_OP_RECV, pair[1], got, 1000, 0)->flags = IOSQE_IO_LINK;
		uring_put(&u, IORING_OP_WRITE, to, got, 1000, below(9000));
		uring_run(&u);
	} while (going());
}
