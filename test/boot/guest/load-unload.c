// SPDX-License-Identifier: MIT
/*
 * Loads and unloads the driver while others work: load-unload MODULE CYCLES SEED
 *
 * Each cycle loads the module, lets a child open /dev/lemona and read some of it,
 * asks for the unloading meanwhile (which must be refused at once), kills the
 * child in the midst of its reading or leaves it stopped for a while, so that
 * writers wait for it, and unloads. This process is exempt: it would else be one
 * of those who wait for the reader it has stopped. The reference count in /proc/modules is
 * compared with what must hold at each point. Ends with
 *
 *   cycles N, refused N, sub-buffers N, slowest unload N ms
 *
 * and status 0, or with the first thing that was wrong and status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lemona_abi.h"

#define DEVICE "/dev/lemona"
#define NAME "lemona"
#define DEVICE_WAIT_MS 10000
#define READ_WAIT_MS 60000
#define UNLOAD_WAIT_MS 60000

/* Shared with the reader: sub-buffers it has read. */
static _Atomic unsigned int *read_count;

static __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	exit(1);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

static void sleep_ms(unsigned int ms)
{
	struct timespec ts = { ms / 1000, ms % 1000 * 1000000L };

	nanosleep(&ts, NULL);
}

/* References to the module as /proc/modules has them; -1 if it is not there. */
static int references(void)
{
	char name[64], line[256];
	int count = -1, refs;
	FILE *file = fopen("/proc/modules", "r");

	if (!file)
		fail("/proc/modules: %s", strerror(errno));
	while (fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%63s %*u %d", name, &refs) == 2 && strcmp(name, NAME) == 0)
			count = refs;
	}
	fclose(file);
	return count;
}

static void want_references(int wanted, const char *when)
{
	int seen = references();

	if (seen != wanted)
		fail("%s: /proc/modules has %d references, wanted %d", when, seen, wanted);
}

static void load(int module, unsigned int cycle)
{
	/* Small, so that writers soon wait for a reader that does not read. */
	static const char *const params[] = { "pool_mb=1 subbuf_kb=96", "pool_mb=2", "start=0" };
	uint64_t end = now_ms() + DEVICE_WAIT_MS;

	if (syscall(SYS_finit_module, module, params[cycle % 3], 0))
		fail("cycle %u: loading with '%s': %s", cycle, params[cycle % 3], strerror(errno));
	while (access(DEVICE, F_OK)) {
		if (now_ms() >= end)
			fail("cycle %u: no " DEVICE, cycle);
		sleep_ms(1);
	}
}

static int open_exempt(void)
{
	int fd = open(DEVICE, O_RDWR | O_CLOEXEC);

	if (fd < 0)
		fail(DEVICE ": %s", strerror(errno));
	if (ioctl(fd, LEMONA_IOC_EXEMPT))
		fail("LEMONA_IOC_EXEMPT: %s", strerror(errno));
	return fd;
}

/* The reader: reads until it is killed. */
static _Noreturn void read_on(void)
{
	static char buffer[LEMONA_SUBBUF_MAX];
	int fd = open_exempt();

	for (;;) {
		ssize_t n = read(fd, buffer, sizeof(buffer));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < (ssize_t)sizeof(struct lemona_subbuf))
			fail("reading " DEVICE " returned %zd: %s", n, strerror(errno));
		if (((struct lemona_subbuf *)buffer)->magic != LEMONA_MAGIC)
			fail("what " DEVICE " gave is no sub-buffer");
		++*read_count;
	}
}

static pid_t start_reader(void)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0)
		read_on();
	if (pid < 0)
		fail("fork: %s", strerror(errno));
	return pid;
}

static void wait_for_reads(pid_t reader, unsigned int wanted, unsigned int cycle)
{
	uint64_t end = now_ms() + READ_WAIT_MS;
	int status;

	while (*read_count < wanted) {
		if (waitpid(reader, &status, WNOHANG) == reader)
			fail("cycle %u: the reader ended with status 0x%x", cycle, status);
		if (now_ms() >= end)
			fail("cycle %u: %u of %u sub-buffers within %d ms", cycle, *read_count, wanted, READ_WAIT_MS);
		sleep_ms(1);
	}
}

static int unload(void)
{
	return syscall(SYS_delete_module, NAME, O_NONBLOCK);
}

/* A module in use is refused at once: the caller does not wait for its end. */
static void want_refusal(unsigned int cycle)
{
	uint64_t start = now_ms();

	if (!unload())
		fail("cycle %u: the module was unloaded while its device was open", cycle);
	if (errno != EWOULDBLOCK)
		fail("cycle %u: unloading a module in use: %s, wanted EWOULDBLOCK", cycle, strerror(errno));
	if (now_ms() - start > 5000)
		fail("cycle %u: the refusal took %llu ms", cycle, (unsigned long long)(now_ms() - start));
}

int main(int argc, char **argv)
{
	unsigned int cycles, sum = 0;
	uint64_t slowest = 0;
	int module;

	if (argc != 4)
		return 2;
	cycles = strtoul(argv[2], NULL, 10);
	srandom(strtoul(argv[3], NULL, 10));
	module = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (module < 0)
		fail("%s: %s", argv[1], strerror(errno));
	read_count = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (read_count == MAP_FAILED)
		fail("mmap: %s", strerror(errno));

	for (unsigned int cycle = 0; cycle < cycles; cycle++) {
		bool records = cycle % 3 != 2;
		uint64_t start;
		pid_t reader;

		want_references(-1, "before loading");
		load(module, cycle);
		want_references(0, "after loading");
		close(open_exempt());
		*read_count = 0;
		reader = start_reader();
		if (records)
			wait_for_reads(reader, 1 + random() % 8, cycle);
		else
			/* It blocks in its first read: nothing is recorded. */
			while (references() != 1)
				sleep_ms(1);
		want_references(1, "with the device open");
		want_refusal(cycle);
		if (cycle % 2) {
			/* Writers come to wait for it; its death must let them go. */
			kill(reader, SIGSTOP);
			sleep_ms(random() % 200);
			want_refusal(cycle);
		}
		kill(reader, SIGKILL);
		waitpid(reader, NULL, 0);
		sum += *read_count;
		want_references(0, "after the reader's death");
		if (cycle % 5 == 4)
			sleep_ms(random() % 100);
		start = now_ms();
		if (unload())
			fail("cycle %u: unloading: %s", cycle, strerror(errno));
		if (now_ms() - start > slowest)
			slowest = now_ms() - start;
		if (slowest > UNLOAD_WAIT_MS)
			fail("cycle %u: the unloading took %llu ms", cycle, (unsigned long long)slowest);
		want_references(-1, "after unloading");
	}
	printf("cycles %u, refused %u, sub-buffers %u, slowest unload %llu ms\n", cycles, cycles + cycles / 2, sum,
	       (unsigned long long)slowest);
	return 0;
}
