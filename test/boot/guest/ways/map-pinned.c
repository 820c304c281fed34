// SPDX-License-Identifier: MIT
/*
 * A slow disk stores to the mapping: its pages stay pinned for long, and change after every page table has been
 * write-protected. ARG is the disk.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define PAGES 24
#define READERS 6

static void read_slowly(void *map)
{
	int disk = need(open(way_arg, O_RDONLY | O_DIRECT));

	while (going()) {
		unsigned int page = below(PAGES - 4);

		must(pread(disk, (char *)map + page * PAGE, 4 * PAGE, 4 * PAGE * below(1000)) == 4 * PAGE);
	}
}

WAY("map-pinned")
{
	int fd = make_file("f", PAGES * PAGE), disk = need(open(way_arg, O_RDWR | O_CLOEXEC));
	char *map = map_file(fd, PAGES * PAGE), block[64 * PAGE];
	pid_t readers[READERS];

	/* No two pages of the disk are alike. */
	for (int i = 0; i < 64; i++) {
		fill(block, sizeof(block));
		must(pwrite(disk, block, sizeof(block), i * sizeof(block)) == sizeof(block));
	}
	need(fsync(disk));
	need(close(disk));
	for (int i = 0; i < READERS; i++)
		readers[i] = spawn(read_slowly, map);
	while (going()) {
		map[below(PAGES * PAGE)] = below(256);
		pause_us(below(10000));
	}
	for (int i = 0; i < READERS; i++)
		reap(readers[i], 0);
}
