// SPDX-License-Identifier: MIT
/* Stores while pages are moved by compaction, or reclaimed because memory is short. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define LEN (256 * PAGE)

/* Where the mapping's pages lie in memory; 0: no page is mapped there. Returns how many are not where WAS says. */
static int look_where(const char *map, uint64_t *frames, const uint64_t *was)
{
	int fd = need(open("/proc/self/pagemap", O_RDONLY)), moved = 0;

	for (size_t i = 0; i < LEN / PAGE; i++) {
		must(pread(fd, &frames[i], 8, ((uintptr_t)map / PAGE + i) * 8) == 8);
		frames[i] = frames[i] >> 63 ? frames[i] & ((1ull << 55) - 1) : 0;
		if (was && was[i] && frames[i] && frames[i] != was[i])
			moved++;
	}
	need(close(fd));
	return moved;
}

static void store(void *map)
{
	store_while_going(map, LEN);
}

static void compact(void *arg)
{
	(void)arg;
	while (going()) {
		write_text("/proc/sys/vm/compact_memory", "1");
		pause_us(10000);
	}
}

WAY("map-compact")
{
	char *map = map_file(make_file("f", LEN), LEN);
	uint64_t before[LEN / PAGE], after[LEN / PAGE];
	pid_t storer, compacter;

	fill(map, LEN);
	look_where(map, before, NULL);
	storer = spawn(store, map);
	compacter = spawn(compact, NULL);
	store_while_going(map, LEN);
	reap(storer, 0);
	reap(compacter, 0);
	must(look_where(map, after, before) > 0);
}

/* More memory than the guest has: ARG MiB, over and over. */
static void eat(void *arg)
{
	size_t pages = *(unsigned int *)arg * 256ul;
	char *own = (char *)need(mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	for (;;) {
		for (size_t i = 0; i < pages; i++)
			own[i * PAGE] += 1 + below(255);
	}
}

/* Used swap in KiB, of /proc/swaps' first area. */
static int swapped(void)
{
	FILE *file = fopen("/proc/swaps", "r");
	int used = 0;

	must(file != NULL);
	must(fscanf(file, "%*[^\n] %*s %*s %*s %d", &used) == 1);
	fclose(file);
	return used;
}

WAY("map-reclaim")
{
	/* Larger than what is left: its own pages are reclaimed as well. */
	size_t len = 64ul << 20;
	int fd = need(open("f", O_RDWR | O_CREAT, 0600));
	static unsigned char resident[16384];
	unsigned int mib = 0, gone = 0, most = 0;
	char *map;
	pid_t eater;

	for (const char *digit = way_arg; *digit; digit++)
		mib = mib * 10 + (*digit - '0');
	need(ftruncate(fd, len));
	map = map_file(fd, len);
	must(len / PAGE == sizeof(resident));
	for (size_t at = 0; at < len; at += PAGE)
		map[at] = 1;
	eater = spawn(eat, &mib);
	while (going()) {
		for (int i = 0; i < 50; i++)
			map[below(len)] = 1 + below(255);
		if (below(4) == 0)
			pause_us(below(20000));
		if ((unsigned int)swapped() > most)
			most = swapped();
	}
	/* Was memory short indeed? Pages were swapped out, and some of ours were dropped after they had been stored to. */
	need(mincore(map, len, resident));
	for (size_t i = 0; i < sizeof(resident); i++)
		gone += !(resident[i] & 1);
	fprintf(stderr, "%u KiB swapped, %u pages of the file are not in memory\n", most, gone);
	must(most > 0 && gone > 0);
	need(kill(eater, SIGKILL));
	reap(eater, SIGKILL);
}
