// SPDX-License-Identifier: MIT
/* Stores behind the end of file that the file then grows over, and stores far apart. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define LEN (64 * PAGE)

/* What lies behind the end must read as zeros afterwards, however the file grows. */
WAY("map-grow")
{
	int fd = make_file("f", 1000);
	char *map = map_file(fd, LEN);
	size_t size = 1000;

	for (int i = 0; i < 60; i++) {
		size_t old = size, page = (old - 1) / PAGE * PAGE;

		for (int j = 0; j < 50; j++)
			map[page + below(PAGE)] = below(256);
		if (below(3) == 0)
			pause_us(below(120000));
		if (below(3) == 0)
			need(msync(map + page, PAGE, MS_SYNC));
		size += 1 + below(PAGE);
		switch (below(4)) {
		case 0:
			need(ftruncate(fd, size));
			break;
		case 1:
			must(pwrite(fd, "end", 3, size - 3) == 3);
			break;
		case 2:
			need(fallocate(fd, 0, size - 1, 1));
			break;
		case 3:
			need(fallocate(fd, FALLOC_FL_ZERO_RANGE, old, size - old));
			break;
		}
		map[old] = below(256);
		map[size - 1] = below(256);
	}
}

/* A hole of a file, stored to here and there; also behind 4 GiB. */
WAY("map-sparse")
{
	int fd = need(open("f", O_RDWR | O_CREAT, 0600));
	size_t len = 96ul << 20;
	char *map, *far;

	need(ftruncate(fd, len));
	map = map_file(fd, len);
	for (int i = 0; i < 100; i++)
		map[below(len)] = 1 + below(255);
	need(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, below(len), len / 4));
	for (int i = 0; i < 100; i++)
		map[below(len)] = 1 + below(255);
	fd = need(open("far", O_RDWR | O_CREAT, 0600));
	need(ftruncate(fd, (5ul << 30) + 77));
	far = (char *)need(mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (5ul << 30) - 3 * PAGE));
	fill(far + 1000, 3 * PAGE - 1000 + 77);
	/* Only the far part is left: the hole before it costs the comparison time. */
	need(munmap(far, 4 * PAGE));
	need(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, 0, (5ul << 30) - 4 * PAGE));
}
