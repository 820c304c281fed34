// SPDX-License-Identifier: MIT
/* One process stores to a mapping while another moves what lies under it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define PAGES 40
#define LEN (PAGES * PAGE)

static sigjmp_buf behind_the_end;

static void on_bus_error(int signal)
{
	(void)signal;
	siglongjmp(behind_the_end, 1);
}

static void store_where_it_goes(void *arg)
{
	char *map = arg;

	must(signal(SIGBUS, on_bus_error) != SIG_ERR);
	while (going()) {
		if (sigsetjmp(behind_the_end, 1) == 0) {
			for (int i = 0; i < 100; i++)
				map[below(LEN)] = below(256);
		}
		if (below(8) == 0)
			pause_us(below(3000));
	}
}

static void against(void (*change)(int fd))
{
	int fd = make_file("f", LEN);
	char *map = map_file(fd, LEN);
	pid_t one = spawn(store_where_it_goes, map), two = spawn(store_where_it_goes, map);

	while (going()) {
		change(fd);
		if (below(4) == 0)
			pause_us(below(8000));
	}
	reap(one, 0);
	reap(two, 0);
}

static void cut(int fd)
{
	need(ftruncate(fd, below(LEN)));
	need(ftruncate(fd, LEN - below(PAGE)));
}

WAY("map-truncate")
{
	against(cut);
}

static void punch(int fd)
{
	need(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(LEN), 1 + below(4 * PAGE)));
}

WAY("map-punch")
{
	against(punch);
}

static void zero(int fd)
{
	need(fallocate(fd, FALLOC_FL_ZERO_RANGE | (below(2) ? FALLOC_FL_KEEP_SIZE : 0), below(LEN),
		       1 + below(4 * PAGE)));
}

WAY("map-zero-range")
{
	against(zero);
}

static void collapse(int fd)
{
	need(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE * below(PAGES - 8), PAGE * (1 + below(3))));
	need(ftruncate(fd, LEN));
}

WAY("map-collapse")
{
	against(collapse);
}

static void insert(int fd)
{
	need(fallocate(fd, FALLOC_FL_INSERT_RANGE, PAGE * below(PAGES - 8), PAGE * (1 + below(3))));
	need(ftruncate(fd, LEN));
}

WAY("map-insert")
{
	against(insert);
}

static void write_over(int fd)
{
	char text[3 * PAGE];
	size_t len = 1 + below(sizeof(text));

	fill(text, 8);
	must(pwrite(fd, text, len, below(LEN)) == (ssize_t)len);
}

WAY("map-write")
{
	against(write_over);
}
