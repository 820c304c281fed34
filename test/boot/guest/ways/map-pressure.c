// SPDX-License-Identifier: MIT
/* Stores while pages are moved by compaction, or reclaimed because memory is short. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ways.h"

#define LEN (256 * PAGE)

/* A counter of /proc/vmstat. */
static unsigned long vmstat(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "r");
	unsigned long value;
	char key[64];

	must(file != NULL);
	while (fscanf(file, "%63s %lu", key, &value) == 2) {
		if (strcmp(key, name) == 0) {
			fclose(file);
			return value;
		}
	}
	failed(name, __FILE__, __LINE__);
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
	unsigned long migrated = vmstat("pgmigrate_success");
	pid_t storer = spawn(store, map), compacter = spawn(compact, NULL);

	store_while_going(map, LEN);
	reap(storer, 0);
	reap(compacter, 0);
	must(vmstat("pgmigrate_success") > migrated);
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

WAY("map-reclaim")
{
	/* Larger than what is left: its own pages are reclaimed as well. */
	size_t len = 64ul << 20;
	int fd = need(open("f", O_RDWR | O_CREAT, 0600));
	unsigned int mib = 0;
	char *map;
	pid_t eater;

	for (const char *digit = way_arg; *digit; digit++)
		mib = mib * 10 + (*digit - '0');
	need(ftruncate(fd, len));
	map = map_file(fd, len);
	eater = spawn(eat, &mib);
	while (going()) {
		for (int i = 0; i < 50; i++)
			map[below(len)] = 1 + below(255);
		if (below(4) == 0)
			pause_us(below(20000));
	}
	need(kill(eater, SIGKILL));
	reap(eater, SIGKILL);
	must(vmstat("pswpout") > 0 && vmstat("pgsteal_file") > 0 && vmstat("workingset_refault_file") > 0);
}
