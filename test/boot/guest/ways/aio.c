// SPDX-License-Identifier: MIT
/* io_submit(2): writes, gathered writes, direct ones, and reads into a mapping. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ways.h"

static void add(struct iocb *cb, int op, int fd, const void *buf, size_t len, int64_t at)
{
	memset(cb, 0, sizeof(*cb));
	cb->aio_lio_opcode = op;
	cb->aio_fildes = fd;
	cb->aio_buf = (uintptr_t)buf;
	cb->aio_nbytes = len;
	cb->aio_offset = at;
}

static void submit(aio_context_t ctx, struct iocb *cbs, int count)
{
	struct iocb *list[8];
	struct io_event events[8];

	for (int i = 0; i < count; i++)
		list[i] = &cbs[i];
	must(syscall(SYS_io_submit, ctx, count, list) == count);
	must(syscall(SYS_io_getevents, ctx, count, count, events, NULL) == count);
	for (int i = 0; i < count; i++)
		must(events[i].res >= 0);
}

WAY("aio")
{
	int fd = make_file("f", 9000), mapped = make_file("mapped", 4 * PAGE), direct;
	char *map = map_file(mapped, 4 * PAGE), *block = aligned_alloc(PAGE, 2 * PAGE);
	struct iovec iov[2] = { { block, 700 }, { block + 900, 800 } };
	aio_context_t ctx = 0;
	struct iocb cbs[5];

	direct = need(open("f", O_RDWR | O_DIRECT));
	need(syscall(SYS_io_setup, 8, &ctx));
	do {
		fill(block, 2 * PAGE);
		add(&cbs[0], IOCB_CMD_PWRITE, fd, block, 1 + below(2 * PAGE), below(30000));
		add(&cbs[1], IOCB_CMD_PWRITEV, fd, iov, 2, below(30000));
		add(&cbs[2], IOCB_CMD_PWRITE, direct, block, PAGE, PAGE * below(10));
		add(&cbs[3], IOCB_CMD_PREAD, fd, map + below(PAGE), 2000, below(5000));
		add(&cbs[4], IOCB_CMD_PREAD, direct, map + 2 * PAGE, PAGE, 0);
		submit(ctx, cbs, 5);
		add(&cbs[0], IOCB_CMD_FDSYNC, fd, NULL, 0, 0);
		submit(ctx, cbs, 1);
	} while (going());
	need(syscall(SYS_io_destroy, ctx));
}
