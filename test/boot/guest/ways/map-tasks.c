// SPDX-License-Identifier: MIT
/* Who stores through a mapping, and how he ends. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ways.h"

#define LEN (48 * PAGE)

struct place {
	char *map;
	int cpu;
};

static void store_pinned(void *arg)
{
	const struct place *place = arg;

	pin_to_cpu(place->cpu);
	store_while_going(place->map, LEN);
}

WAY("map-two-cpus")
{
	int fd = make_file("f", LEN);
	/* Each has a mapping of its own. */
	struct place one = { map_file(fd, LEN), 0 }, two = { map_file(fd, LEN), 1 };
	pid_t a = spawn(store_pinned, &one), b = spawn(store_pinned, &two);

	reap(a, 0);
	reap(b, 0);
}

static void *store_in_thread(void *map)
{
	/* below() has one state for all threads: what it gives does not matter here. */
	store_while_going(map, LEN);
	return NULL;
}

WAY("map-threads")
{
	char *map = map_file(make_file("f", LEN), LEN);
	pthread_t threads[3];

	for (int i = 0; i < 3; i++)
		must(pthread_create(&threads[i], NULL, store_in_thread, map) == 0);
	for (int i = 0; i < 3; i++)
		must(pthread_join(threads[i], NULL) == 0);
}

static void store_inherited(void *map)
{
	store_while_going(map, LEN);
}

/* Pages that the parent made writable are so in no child; children have children. */
WAY("map-fork")
{
	char *map = map_file(make_file("f", LEN), LEN);
	pid_t pids[4];

	fill(map, LEN);
	while (going()) {
		for (int i = 0; i < 4; i++) {
			map[below(LEN)] = i;
			pids[i] = spawn(store_inherited, map);
			map[below(LEN)] = i;
		}
		store_while_going(map, LEN);
		for (int i = 0; i < 4; i++)
			reap(pids[i], 0);
	}
}

static void store_and_exit(void *map)
{
	for (int i = 0; i < 30; i++)
		((char *)map)[below(LEN)] = below(256);
	_exit(0);
}

WAY("map-exit")
{
	char *map = map_file(make_file("f", LEN), LEN);

	do {
		reap(spawn(store_and_exit, map), 0);
	} while (going());
}

static void store_and_crash(void *map)
{
	fill(map, 100);
	strcpy((char *)map + PAGE, "last words");
	*(volatile int *)8 = 1;
}

static void store_for_ever(void *map)
{
	for (;;)
		((char *)map)[below(LEN)] = below(256);
}

WAY("map-kill")
{
	char *map = map_file(make_file("f", LEN), LEN);

	reap(spawn(store_and_crash, map), SIGSEGV);
	do {
		pid_t pid = spawn(store_for_ever, map);

		pause_us(below(40000));
		need(kill(pid, SIGKILL));
		reap(pid, SIGKILL);
	} while (going());
}

/* Never in the kernel but for faults and interrupts, for as long as the way lasts. */
WAY("map-spin")
{
	char *map = map_file(make_file("f", LEN), LEN);
	pid_t pid = spawn(store_for_ever, map);

	while (going())
		pause_us(100000);
	need(kill(pid, SIGKILL));
	reap(pid, SIGKILL);
}

/* The memory of vfork()'s child is its parent's. */
WAY("map-vfork")
{
	char *map = map_file(make_file("f", LEN), LEN);
	pid_t pid;
	int status;

	for (int i = 0; i < 10; i++) {
		pid = need(vfork());
		if (pid == 0) {
			map[i * PAGE] = i + 1;
			map[i * PAGE + 1] = i + 1;
			_exit(0);
		}
		need(waitpid(pid, &status, 0));
		map[i * PAGE + 2] = i + 1;
	}
}

WAY("map-exec")
{
	char *map = map_file(make_file("f", LEN), LEN);

	/* The mapping goes away with the old program; what it held stays. */
	fill(map, LEN);
	need(execl("/bin/true", "true", NULL));
}
