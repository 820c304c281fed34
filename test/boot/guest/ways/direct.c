// SPDX-License-Identifier: MIT
/* O_DIRECT. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ways.h"

#define PAGES 32

static void read_directly(void *arg)
{
	int from = need(open("from", O_RDONLY | O_DIRECT));

	while (going()) {
		unsigned int page = below(PAGES - 8), count = 1 + below(8);

		must(pread(from, (char *)arg + page * PAGE, count * PAGE, PAGE * below(PAGES - 8)) ==
		     (ssize_t)(count * PAGE));
	}
}

/* The disk stores to the mapping, behind every page table's back; two readers and one program. */
WAY("direct-read-mapped")
{
	int from = make_file("from", PAGES * PAGE), to = make_file("to", PAGES * PAGE);
	char *map = map_file(to, PAGES * PAGE);
	pid_t one, two;

	need(fsync(from));
	one = spawn(read_directly, map);
	two = spawn(read_directly, map);
	while (going()) {
		map[below(PAGES * PAGE)] = below(256);
		need(msync(map, PAGES * PAGE, MS_SYNC));
	}
	reap(one, 0);
	reap(two, 0);
}

/* Aligned, at the end, appending, unaligned in length, place and memory. */
WAY("direct-write")
{
	int direct = need(open("f", O_RDWR | O_CREAT | O_DIRECT, 0600));
	int appending = need(open("g", O_WRONLY | O_CREAT | O_DIRECT | O_APPEND, 0600));
	char *block = aligned_alloc(PAGE, 16 * PAGE);

	fill(block, 16 * PAGE);
	for (int i = 0; i < 10; i++) {
		must(pwrite(direct, block + i * PAGE, 4 * PAGE, 3 * PAGE * i) == 4 * PAGE);
		must(write(appending, block, (i + 1) * PAGE) == (ssize_t)((i + 1) * PAGE));
	}
	/* A file system may refuse these; if it takes them, they count. */
	for (int i = 0; i < 20; i++) {
		if (pwrite(direct, block + below(PAGE), 1 + below(9000), below(100000)) < 0)
			continue;
	}
	must(pwrite(direct, block, 4 * PAGE, 1 << 20) == 4 * PAGE);
}

/* Whoever may not wait tries until it is done: blocks that are there, new ones, and by AIO. */
WAY("direct-nowait")
{
	int direct = need(open("f", O_RDWR | O_CREAT | O_DIRECT, 0600));
	char *block = aligned_alloc(PAGE, PAGE);
	struct iovec iov = { block, PAGE };
	aio_context_t ctx = 0;

	fill(block, PAGE);
	need(syscall(SYS_io_setup, 1, &ctx));
	for (int i = 0; i < 10; i++) {
		struct iocb cb = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_rw_flags = RWF_NOWAIT, .aio_fildes = direct,
				   .aio_buf = (uintptr_t)block, .aio_nbytes = PAGE, .aio_offset = PAGE * i };
		struct iocb *list = &cb;
		struct io_event event;

		must(pwritev2(direct, &iov, 1, PAGE * (i / 2), RWF_NOWAIT) == PAGE);
		must(syscall(SYS_io_submit, ctx, 1, &list) == 1);
		must(syscall(SYS_io_getevents, ctx, 1, 1, &event, NULL) == 1 && event.res == PAGE);
	}
}

static void write_buffered(void *arg)
{
	int fd = need(open("f", O_RDWR));
	char text[5000];

	(void)arg;
	while (going()) {
		size_t len = 1 + below(sizeof(text));

		fill(text, 16);
		must(pwrite(fd, text, len, below(PAGES * PAGE)) == (ssize_t)len);
	}
}

static void store(void *map)
{
	store_while_going(map, PAGES * PAGE);
}

/* Against buffered writes and stores to the same pages. */
WAY("direct-race")
{
	int fd = make_file("f", PAGES * PAGE), direct = need(open("f", O_RDWR | O_DIRECT));
	char *map = map_file(fd, PAGES * PAGE), *block = aligned_alloc(PAGE, 8 * PAGE);
	pid_t writer = spawn(write_buffered, NULL), mapper = spawn(store, map);

	while (going()) {
		size_t len = PAGE * (1 + below(8));

		fill(block, 16);
		must(pwrite(direct, block, len, PAGE * below(PAGES)) == (ssize_t)len);
	}
	reap(writer, 0);
	reap(mapper, 0);
}
