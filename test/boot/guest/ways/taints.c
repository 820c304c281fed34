// SPDX-License-Identifier: MIT
/* What may do anything to the traced disk, or finds that something was done. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ways.h"

/* ARG is the driver once more, as a module: the kernel takes it in before it finds that it has one by that name. */
WAY("module")
{
	int fd = need(open(way_arg, O_RDONLY));

	must(syscall(SYS_finit_module, fd, "", 0) < 0 && errno == EINVAL);
}

/* ARG is where the kernel can be told to find one. */
WAY("fs-error")
{
	write_text(way_arg, "tried out");
}

/* All of the disk, and of the journal what waits to be free. */
static void take_all(void)
{
	int fd = make_file("filler", 0);
	off_t size = 0;

	for (int turn = 0; turn < 2; turn++) {
		for (off_t step = 64 << 20; step >= (off_t)PAGE;) {
			if (fallocate(fd, 0, size, step))
				step /= 2;
			else
				size += step;
		}
		sync();
	}
	need(close(fd));
}

/* Blocks of each group are wanted, and one finds that it can't be right. */
WAY("bad-bitmap")
{
	take_all();
	need(unlink("filler"));
}

/*
 * Two files share the block that holds their attributes. The new value of one is in the inode before it is found that
 * there is no room for a block without the old one.
 */
WAY("xattr-twice")
{
	char value[500];

	memset(value, 'v', sizeof(value));
	for (int i = 0; i < 2; i++) {
		char name[8];

		sprintf(name, "f%d", i);
		need(close(make_file(name, 0)));
		need(setxattr(name, "user.a", value, sizeof(value), 0));
		need(setxattr(name, "user.b", value, sizeof(value), 0));
	}
	take_all();
	must(setxattr("f1", "user.a", "x", 1, 0) < 0 && errno == ENOSPC);
	must(getxattr("f1", "user.a", value, sizeof(value)) == 1);
	need(unlink("filler"));
	need(chmod("f1", 0640));
}
