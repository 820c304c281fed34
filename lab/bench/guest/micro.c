// SPDX-License-Identifier: MIT
/*
 * micro NAME ROUNDS: one small thing many times, inside one span, in the
 * current folder. With one round before the span, so that what only the first
 * round does (faults, a file's first block) is no part of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "span.h"

#define BIG (64 << 10)
#define PAGE 4096
#define PAGES 64

static char buffer[BIG];
static int file = -1;
static int there[2], back[2];
static char *map;

static void must(int good, const char *what)
{
	if (good)
		return;
	fprintf(stderr, "micro: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void open_file(void)
{
	file = open("micro.file", O_RDWR | O_CREAT | O_TRUNC, 0644);
	must(file >= 0, "micro.file");
	must(pwrite(file, buffer, BIG, 0) == BIG, "pwrite");
}

static void do_null(uint64_t round)
{
	(void)round;
	syscall(SYS_getppid);
}

static void do_write(size_t size)
{
	must(pwrite(file, buffer, size, 0) == (ssize_t)size, "pwrite");
}

static void do_read(size_t size)
{
	must(pread(file, buffer, size, 0) == (ssize_t)size, "pread");
}

#define SIZED(what, size)                                                                                              \
	static void do_##what##_##size(uint64_t round)                                                                 \
	{                                                                                                              \
		(void)round;                                                                                           \
		do_##what(size);                                                                                       \
	}
SIZED(write, 1)
SIZED(write, 4096)
SIZED(write, 65536)
SIZED(read, 1)
SIZED(read, 4096)
SIZED(read, 65536)

static void do_open_close(uint64_t round)
{
	int fd = open("micro.file", O_RDONLY);

	(void)round;
	must(fd >= 0 && close(fd) == 0, "open and close");
}

static void do_stat(uint64_t round)
{
	struct stat st;

	(void)round;
	must(stat("micro.file", &st) == 0, "stat");
}

static void do_fork_exec(uint64_t round)
{
	int status;
	pid_t child = vfork();

	(void)round;
	if (child == 0) {
		execl("/proc/self/exe", "micro", "nothing", "0", (char *)NULL);
		_exit(127);
	}
	must(child > 0 && waitpid(child, &status, 0) == child && status == 0, "fork and exec");
}

static void open_pipes(void)
{
	must(pipe(there) == 0 && pipe(back) == 0, "pipe");
	if (fork() == 0) {
		char byte;

		close(there[1]);
		while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
			;
		_exit(0);
	}
	close(there[0]);
}

static void do_ping_pong(uint64_t round)
{
	char byte = 0;

	(void)round;
	must(write(there[1], &byte, 1) == 1 && read(back[0], &byte, 1) == 1, "ping-pong");
}

static void open_yielder(void)
{
	if (fork() == 0) {
		for (;;)
			sched_yield();
	}
}

/* Two that yield to each other: a switch each way. */
static void do_switch(uint64_t round)
{
	(void)round;
	sched_yield();
}

static void open_map(void)
{
	open_file();
	must(ftruncate(file, PAGES * PAGE) == 0, "ftruncate");
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	must(map != MAP_FAILED, "mmap");
}

/* A store to one page of a mapped file; then a call, where the page is captured. */
static void do_map_store(uint64_t round)
{
	map[(round % PAGES) * PAGE + round % PAGE]++;
	syscall(SYS_getppid);
}

static void do_small_file(uint64_t round)
{
	char name[32], other[32];
	int fd;

	snprintf(name, sizeof(name), "f%llu", (unsigned long long)round);
	snprintf(other, sizeof(other), "g%llu", (unsigned long long)round);
	fd = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
	must(fd >= 0, name);
	must(write(fd, buffer, 512) == 512 && close(fd) == 0, name);
	must(rename(name, other) == 0 && unlink(other) == 0, other);
}

static const struct {
	const char *name;
	void (*open)(void);
	void (*run)(uint64_t round);
} works[] = {
	{ "null", NULL, do_null },
	{ "write-1", open_file, do_write_1 },
	{ "write-4096", open_file, do_write_4096 },
	{ "write-65536", open_file, do_write_65536 },
	{ "read-1", open_file, do_read_1 },
	{ "read-4096", open_file, do_read_4096 },
	{ "read-65536", open_file, do_read_65536 },
	{ "open-close", open_file, do_open_close },
	{ "stat", open_file, do_stat },
	{ "fork-exec", NULL, do_fork_exec },
	{ "ping-pong", open_pipes, do_ping_pong },
	{ "switch", open_yielder, do_switch },
	{ "map-store", open_map, do_map_store },
	{ "small-file", NULL, do_small_file },
};

/* Whoever helps is of our process group; nothing is left to run beside the next work. */
static void end_helpers(void)
{
	signal(SIGTERM, SIG_IGN);
	kill(0, SIGTERM);
	while (wait(NULL) > 0)
		;
}

int main(int argc, char **argv)
{
	uint64_t rounds;

	if (argc == 3 && !strcmp(argv[1], "nothing"))
		return 0;
	for (size_t i = 0; argc == 3 && i < sizeof(works) / sizeof(works[0]); i++) {
		if (strcmp(argv[1], works[i].name))
			continue;
		rounds = strtoull(argv[2], NULL, 10);
		/* A leader of a session leads its group already. */
		must(setpgid(0, 0) == 0 || errno == EPERM, "setpgid");
		span_shrink_slabs();
#ifdef SPAN_SETTLES
		span_settle();
#endif
		if (works[i].open)
			works[i].open();
		works[i].run(0);
		span_begin();
		for (uint64_t round = 1; round <= rounds; round++)
			works[i].run(round);
#ifdef SPAN_SETTLES
		/* With one that never rests the guest does not either. */
		end_helpers();
#endif
		span_end(argv[1], rounds);
		end_helpers();
		return 0;
	}
	fprintf(stderr, "usage: micro NAME ROUNDS\n");
	return 2;
}
