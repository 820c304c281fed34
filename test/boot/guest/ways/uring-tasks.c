// SPDX-License-Identifier: MIT
/* Who submits, and who is gone before the requests are done. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "uring.h"

#define MULTISHOTS 5

static struct uring ring;
static char text[8000];

static void submit_to_inherited(void *arg)
{
	int fd = need(open("by-child", O_RDWR | O_CREAT, 0600));

	(void)arg;
	for (int i = 0; i < 10; i++)
		uring_put(&ring, IORING_OP_WRITE, fd, text, 1 + below(8000), below(20000))->flags =
			i % 2 ? IOSQE_ASYNC : 0;
	uring_run(&ring);
}

/* The ring is the parent's, the requests are its child's. */
WAY("uring-inherited")
{
	int fd = make_file("by-parent", 10);

	fill(text, sizeof(text));
	uring_open(&ring, 16, 0);
	uring_put(&ring, IORING_OP_WRITE, fd, text, 3000, 50);
	uring_run(&ring);
	reap(spawn(submit_to_inherited, NULL), 0);
	uring_put(&ring, IORING_OP_WRITE, fd, text, 3000, 9000);
	uring_run(&ring);
}

/* A file that another ring registered, of which this one has no descriptor. */
WAY("uring-message")
{
	int files[1] = { make_file("f", 10) }, none[1] = { -1 };
	struct io_uring_sqe *sqe;
	struct uring other;

	uring_open(&ring, 8, 0);
	uring_open(&other, 8, 0);
	need(uring_register(&ring, IORING_REGISTER_FILES, files, 1));
	need(uring_register(&other, IORING_REGISTER_FILES, none, 1));
	need(close(files[0]));
	sqe = uring_put(&ring, IORING_OP_MSG_RING, other.fd, (void *)IORING_MSG_SEND_FD, 0, 0);
	sqe->file_index = 1;	/* to the other's slot 0, from ours */
	sqe->msg_ring_flags = IORING_MSG_RING_CQE_SKIP;
	uring_run(&ring);
	fill(text, 100);
	uring_put(&other, IORING_OP_WRITE, 0, text, 4000, 77)->flags = IOSQE_FIXED_FILE;
	uring_run(&other);
}

/* One request that ends each time something happens. */
WAY("uring-multishot")
{
	int bell = need(eventfd(0, 0)), fd = make_file("f", 10);
	uint64_t rings = 1;

	uring_open(&ring, 8, 0);
	uring_put(&ring, IORING_OP_POLL_ADD, bell, NULL, IORING_POLL_ADD_MULTI, 0)->poll32_events = POLLIN;
	uring_submit(&ring);
	for (int i = 0; i < MULTISHOTS; i++) {
		must(write(bell, &rings, sizeof(rings)) == sizeof(rings));
		must(uring_next(&ring).res == POLLIN);
		must(read(bell, &rings, sizeof(rings)) == sizeof(rings));
		must(pwrite(fd, &rings, 1, i) == 1);
	}
}

static void submit_and_go(void *arg)
{
	int fd = need(open("f", O_RDWR)), how = *(int *)arg;

	uring_open(&ring, 64, 0);
	for (int i = 0; i < 40; i++)
		uring_put(&ring, IORING_OP_WRITE, fd, text, 1 + below(8000), below(90000))->flags =
			below(3) ? IOSQE_ASYNC : 0;
	uring_submit(&ring);
	if (how)
		need(kill(getpid(), how));
	_exit(0);
}

WAY("uring-exit")
{
	need(close(make_file("f", 100)));
	do {
		int how = below(2) ? SIGKILL : 0;

		fill(text, 64);
		reap(spawn(submit_and_go, &how), how);
	} while (going());
}
