// SPDX-License-Identifier: MIT
/* Chains: into a slot of registered files that the chain itself fills, ones that break, hard ones, drained ones. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "uring.h"

static void open_write_close(struct uring *u, const char *name, const char *text, unsigned int len)
{
	struct io_uring_sqe *sqe = uring_put(u, IORING_OP_OPENAT, AT_FDCWD, name, 0600, 0);

	sqe->open_flags = O_CREAT | O_WRONLY;
	sqe->file_index = 1;	/* slot 0 */
	sqe->flags = IOSQE_IO_LINK;
	uring_put(u, IORING_OP_WRITE, 0, text, len, 0)->flags = IOSQE_IO_LINK | IOSQE_FIXED_FILE;
	uring_put(u, IORING_OP_CLOSE, 0, NULL, 0, 0)->file_index = 1;
	uring_run(u);
}

static struct io_uring_sqe *open_again(struct uring *u)
{
	struct io_uring_sqe *sqe = uring_put(u, IORING_OP_OPENAT, AT_FDCWD, "f", 0600, 0);

	sqe->open_flags = O_CREAT | O_EXCL | O_WRONLY;
	return sqe;
}

WAY("uring-linked")
{
	static char text[3000];
	int slots[4] = { -1, -1, -1, -1 }, fd = make_file("f", 10), res[4];
	char name[16];
	struct uring u;

	uring_open(&u, 16, 0);
	need(uring_register(&u, IORING_REGISTER_FILES, slots, 4));
	fill(text, sizeof(text));
	for (int i = 0; i < 8; i++) {
		snprintf(name, sizeof(name), "c%d", i);
		open_write_close(&u, name, text, 1 + below(sizeof(text)));
	}
	/* Breaks at its second request, for the file is there: the third is cancelled. */
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "before", 0700, 0)->flags = IOSQE_IO_LINK;
	open_again(&u)->flags = IOSQE_IO_LINK;
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "after", 0700, 0);
	uring_collect(&u, res);
	must(res[0] == 0 && res[1] == -EEXIST && res[2] == -ECANCELED);
	/* A hard chain does not. */
	open_again(&u)->flags = IOSQE_IO_HARDLINK;
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "hard", 0700, 0);
	uring_collect(&u, res);
	must(res[0] == -EEXIST && res[1] == 0);
	/* Over the same bytes, in the order of submission. */
	for (int i = 0; i < 8; i++)
		uring_put(&u, IORING_OP_WRITE, fd, text + i, 1000, 100 * i)->flags = IOSQE_IO_DRAIN;
	uring_run(&u);
}
