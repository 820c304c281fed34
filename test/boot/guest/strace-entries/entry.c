// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include "entry.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOW_BYTES (1 << 20)
#define REPORT_BYTES (2 << 20)
#define PATTERN 0xa5
#define X32_BIT 0x40000000L

static const char *const names[] = { "64", "ia32", "x32" };

enum entry entry;

static uint8_t *low;
static size_t used;
static char report[REPORT_BYTES];
static size_t told;

static struct {
	const uint8_t *at;
	uint8_t before[640];
	size_t size;
	const char *direction;
	int arg;
} watched[6];
static int watching;

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

void entry_begin(const char *word)
{
	while (strcmp(names[entry], word)) {
		if (++entry > ENTRY_X32)
			exit(2);
	}
	low = mmap(NULL, LOW_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		fail("mmap");
	told = sprintf(report, "thread %d\n", getpid());
}

void entry_end(const char *name)
{
	int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	for (size_t at = 0; at < told;) {
		ssize_t done = write(fd, report + at, told - at);

		if (done < 0)
			fail(name);
		at += done;
	}
	close(fd);
}

void *put(const void *bytes, size_t size)
{
	uint8_t *at = low + used;

	used += (size + MARGIN + 15) & ~(size_t)15;
	if (used > LOW_BYTES)
		exit(3);
	memset(at, PATTERN, size + MARGIN);
	if (bytes)
		memcpy(at, bytes, size);
	return at;
}

void *watch(int arg, const char *direction, void *at, size_t size)
{
	if (size + MARGIN > sizeof(watched[0].before))
		exit(4);
	watched[watching].arg = arg;
	watched[watching].direction = direction;
	watched[watching].at = at;
	watched[watching++].size = size;
	return at;
}

static void tell(const char *format, uint64_t value)
{
	if (told + 32 > REPORT_BYTES)
		exit(5);
	told += sprintf(report + told, format, value);
}

static void tell_bytes(const uint8_t *bytes, size_t size)
{
	tell(" ", 0);
	for (size_t i = 0; i < size; i++)
		tell("%02lx", bytes[i]);
}

static long enter(long nr, const uint64_t *args)
{
	register uint64_t r10 __asm__("r10") = args[3];
	register uint64_t r8 __asm__("r8") = args[4];
	register uint64_t r9 __asm__("r9") = args[5];
	long result;

	if (entry == ENTRY_IA32) {
		/* the sixth, in ebp, is never needed */
		__asm__ volatile("int $0x80"
				 : "=a"(result)
				 : "a"(nr), "b"(args[0]), "c"(args[1]), "d"(args[2]), "S"(args[3]), "D"(args[4])
				 : "memory", "r8", "r9", "r10", "r11");
		return (int)result;
	}
	if (entry == ENTRY_X32)
		nr |= X32_BIT;
	__asm__ volatile("syscall"
			 : "=a"(result), "+r"(r10), "+r"(r8), "+r"(r9)
			 : "a"(nr), "D"(args[0]), "S"(args[1]), "d"(args[2])
			 : "memory", "rcx", "r11");
	return result;
}

long call6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f)
{
	const uint64_t args[6] = { a, b, c, d, e, f };
	long result;

	for (int i = 0; i < watching; i++)
		memcpy(watched[i].before, watched[i].at, watched[i].size + MARGIN);
	result = enter(nr, args);
	told += sprintf(report + told, "%s", names[entry]);
	tell(" %lx", nr);
	for (int i = 0; i < 6; i++)
		tell(" %lx", entry == ENTRY_IA32 ? (uint32_t)args[i] : args[i]);
	tell(" = %ld\n", result);
	for (int i = 0; i < watching; i++) {
		tell("+ %lx ", watched[i].arg);
		told += sprintf(report + told, "%s", watched[i].direction);
		tell(" %lu", watched[i].size);
		tell_bytes(watched[i].before, watched[i].size + MARGIN);
		tell_bytes(watched[i].at, watched[i].size + MARGIN);
		tell("\n", 0);
	}
	watching = 0;
	return result;
}
