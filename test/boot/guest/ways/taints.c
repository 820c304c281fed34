// SPDX-License-Identifier: MIT
/* What may do anything to the traced disk, or finds that something was done. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>
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
