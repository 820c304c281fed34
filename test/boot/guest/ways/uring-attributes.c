// SPDX-License-Identifier: MIT
/* Attributes, sizes and allocation. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>

#include "uring.h"

static void set_xattr(struct uring *u, int fd, const char *path, const char *name, const char *value,
		      unsigned int len)
{
	struct io_uring_sqe *sqe = uring_put(u, path ? IORING_OP_SETXATTR : IORING_OP_FSETXATTR, fd, name,
					     len, (uintptr_t)value);

	sqe->addr3 = (uintptr_t)path;
	uring_run(u);
}

/* The mode stands in len, the length in addr. */
static void allocate(struct uring *u, int fd, unsigned int mode, uint64_t at, uint64_t len)
{
	uring_put(u, IORING_OP_FALLOCATE, fd, (void *)len, mode, at);
	uring_run(u);
}

WAY("uring-attributes")
{
	int fd = make_file("f", 50000);
	char *map = map_file(fd, 8 * PAGE);
	struct uring u;

	uring_open(&u, 8, 0);
	set_xattr(&u, fd, NULL, "user.one", "value of one", 12);
	set_xattr(&u, 0, "f", "user.two", "and of two", 10);
	set_xattr(&u, 0, "f", "user.one", "", 0);
	allocate(&u, fd, 0, 40000, 90000);
	allocate(&u, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 10000);
	allocate(&u, fd, FALLOC_FL_ZERO_RANGE, 20001, 9999);
	allocate(&u, fd, FALLOC_FL_COLLAPSE_RANGE, 8192, 4096);
	fill(map, 8 * PAGE);
	uring_put(&u, IORING_OP_MADVISE, -1, map, 4 * PAGE, 0)->fadvise_advice = MADV_DONTNEED;
	uring_put(&u, IORING_OP_FADVISE, fd, NULL, 4096, 0)->fadvise_advice = POSIX_FADV_DONTNEED;
	uring_put(&u, IORING_OP_SYNC_FILE_RANGE, fd, NULL, 30000, 0);
	uring_put(&u, IORING_OP_FSYNC, fd, NULL, 0, 0)->fsync_flags = IORING_FSYNC_DATASYNC;
	uring_run(&u);
	uring_put(&u, OP_FTRUNCATE, fd, NULL, 0, 77777);
	uring_run(&u);
	/* Unmaps the pages of the hole. */
	uring_put(&u, IORING_OP_MADVISE, -1, map + PAGE, 2 * PAGE, 0)->fadvise_advice = MADV_REMOVE;
	uring_run(&u);
}
