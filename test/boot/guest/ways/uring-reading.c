// SPDX-License-Identifier: MIT
/* What reads files, and what lends buffers and slots for it: each thing that is read is written to another file. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "uring.h"

#define BUFFERS 8
#define BUFFER_BYTES 300
#define GROUP 7

static struct uring ring;
static int to;

static void keep(const void *bytes, unsigned int len)
{
	uring_put(&ring, IORING_OP_WRITE, to, bytes, len, -1);
	uring_run(&ring);
}

static void get_xattr(int fd, const char *path, const char *name, const char *wanted)
{
	char value[32];
	struct io_uring_sqe *sqe = uring_put(&ring, path ? IORING_OP_GETXATTR : IORING_OP_FGETXATTR, fd, name,
					     sizeof(value), (uintptr_t)value);
	int res;

	sqe->addr3 = (uintptr_t)path;
	uring_collect(&ring, &res);
	must(res == (int)strlen(wanted) && memcmp(value, wanted, res) == 0);
	keep(value, res);
}

WAY("uring-reading")
{
	static char a[5000], b[4000];
	struct iovec iov[] = { { a, sizeof(a) }, { b, sizeof(b) } };
	int from = make_file("from", 9000), res;
	struct statx stx;

	to = make_file("to", 0);
	uring_open(&ring, 8, 0);
	uring_put(&ring, IORING_OP_READV, from, iov, 2, 0);
	uring_run(&ring);
	keep(a, sizeof(a));
	keep(b, sizeof(b));
	uring_put(&ring, IORING_OP_STATX, AT_FDCWD, "from", STATX_SIZE, (uintptr_t)&stx);
	uring_collect(&ring, &res);
	must(res == 0 && stx.stx_size == 9000);
	keep(&stx.stx_size, sizeof(stx.stx_size));
	need(setxattr("from", "user.named", "by its path", 11, 0));
	need(setxattr("from", "user.open", "by its descriptor", 17, 0));
	get_xattr(0, "from", "user.named", "by its path");
	get_xattr(from, NULL, "user.open", "by its descriptor");
}

/* The kernel chooses the buffer, of those that it was given. */
WAY("uring-lent-buffers")
{
	static char buffers[BUFFERS][BUFFER_BYTES], text[BUFFER_BYTES];
	int from = make_file("from", 9000), ends[2], left = BUFFERS, res;
	struct io_uring_sqe *sqe;

	to = make_file("to", 0);
	uring_open(&ring, 8, 0);
	uring_put(&ring, IORING_OP_PROVIDE_BUFFERS, BUFFERS, buffers, BUFFER_BYTES, 0)->buf_group = GROUP;
	uring_run(&ring);
	sqe = uring_put(&ring, IORING_OP_READ, from, NULL, 200, 0);
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	uring_collect(&ring, &res);
	must(res == 200);
	left--;
	need(pipe(ends));
	sqe = uring_put(&ring, OP_READ_MULTISHOT, ends[0], NULL, 0, -1);
	sqe->flags = IOSQE_BUFFER_SELECT;
	sqe->buf_group = GROUP;
	uring_submit(&ring);
	for (int i = 0; i < 4; i++) {
		struct uring_end end;

		fill(text, sizeof(text));
		must(write(ends[1], text, 100 + i) == 100 + i);
		end = uring_next(&ring);
		must(end.res == 100 + i);
		must(end.flags & IORING_CQE_F_BUFFER && end.flags & IORING_CQE_F_MORE);
		left--;
		must(write(to, buffers[end.flags >> IORING_CQE_BUFFER_SHIFT], end.res) == end.res);
	}
	need(close(ends[1]));
	must(!(uring_next(&ring).flags & IORING_CQE_F_MORE));
	uring_put(&ring, IORING_OP_REMOVE_BUFFERS, BUFFERS, NULL, 0, 0)->buf_group = GROUP;
	uring_collect(&ring, &res);
	must(res == left);
}

/* A descriptor becomes a slot of registered files, and a slot a descriptor. */
WAY("uring-slots")
{
	int slots[2] = { -1, -1 }, fd = make_file("f", 10), given[1] = { fd }, res;
	struct io_uring_sqe *sqe;

	uring_open(&ring, 8, 0);
	need(uring_register(&ring, IORING_REGISTER_FILES, slots, 2));
	uring_put(&ring, IORING_OP_FILES_UPDATE, 0, given, 1, 1);
	uring_run(&ring);
	need(close(fd));
	sqe = uring_put(&ring, IORING_OP_WRITE, 1, "by its slot", 11, 100);
	sqe->flags = IOSQE_FIXED_FILE;
	uring_run(&ring);
	uring_put(&ring, OP_FIXED_FD_INSTALL, 1, NULL, 0, 0)->flags = IOSQE_FIXED_FILE;
	uring_collect(&ring, &res);
	must(res >= 0);
	must(pwrite(res, "by its descriptor", 17, 200) == 17);
}
