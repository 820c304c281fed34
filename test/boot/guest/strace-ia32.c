// SPDX-License-Identifier: MIT
// Calls of ia32 from a 64-bit program: int $0x80 with everything below 4 GiB.
// Usage: strace-ia32 DIRECTORY
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Arguments that point somewhere must lie below 4 GiB */
static long call(long nr, uint32_t a, uint32_t b, uint32_t c, uint32_t d,
		 uint32_t e)
{
	long result;

	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(nr), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
			 : "memory", "r8", "r9", "r10", "r11");
	return (int)result;
}

static char *low;
static size_t used;

static uint32_t put(const void *bytes, size_t size)
{
	char *at = low + used;

	memcpy(at, bytes, size);
	used += (size + 15) & ~(size_t)15;
	return (uint32_t)(uintptr_t)at;
}

static uint32_t room(size_t size)
{
	used += (size + 15) & ~(size_t)15;
	return (uint32_t)(uintptr_t)(low + used - ((size + 15) & ~(size_t)15));
}

#define STRING(text) put(text, sizeof(text))
#define WORDS(...) put((const uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }))

int main(int argc, char **argv)
{
	uint32_t iov, buffer, two, f, message, pair;

	if (argc != 2 || chdir(argv[1]) < 0)
		return 2;
	low = mmap(NULL, 65536, PROT_READ | PROT_WRITE,
		   MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (low == MAP_FAILED)
		return 3;
	f = call(5, STRING("compat"), O_RDWR | O_CREAT, 0600, 0, 0);
	if ((int)f < 0)
		return 4;
	call(4, f, STRING("written by int 0x80"), 19, 0, 0);
	iov = WORDS(STRING("ab"), 2, STRING("cde"), 3);
	call(146, f, iov, 2, 0, 0);				/* writev */
	buffer = room(64);
	iov = WORDS(buffer, 3, buffer + 16, 8);
	call(19, f, 0, SEEK_SET, 0, 0);				/* lseek */
	call(145, f, iov, 2, 0, 0);				/* readv */
	call(181, f, STRING("pwrite"), 6, 40, 0);		/* pwrite64 */
	call(180, f, buffer, 16, 2, 0);				/* pread64 */
	call(197, f, room(96), 0, 0, 0);			/* fstat64 */
	call(195, STRING("compat"), room(96), 0, 0, 0);		/* stat64 */
	call(106, STRING("compat"), room(64), 0, 0, 0);		/* stat */
	call(122, room(390), 0, 0, 0, 0);			/* uname */
	call(183, buffer, 64, 0, 0, 0);				/* getcwd */
	call(13, room(4), 0, 0, 0, 0);				/* time */
	call(78, room(8), room(8), 0, 0, 0);			/* gettimeofday */
	call(265, 1, room(8), 0, 0, 0);				/* clock_gettime */
	call(403, 1, room(16), 0, 0, 0);			/* clock_gettime64 */
	call(162, WORDS(0, 1000000), 0, 0, 0, 0);		/* nanosleep */
	call(175, 0, WORDS(0, 0), room(8), 8, 0);		/* rt_sigprocmask */
	call(174, 10, 0, room(20), 8, 0);			/* rt_sigaction */
	call(191, 7, room(8), 0, 0, 0);				/* ugetrlimit */
	call(221, f, F_SETLK, put("\1\0\0\0\0\0\0\0\10\0\0\0\0\0\0", 16), 0, 0);
	call(42, room(8), 0, 0, 0, 0);				/* pipe */
	two = room(8);
	call(331, two, 0, 0, 0, 0);				/* pipe2 */
	memcpy(&pair, low + (two - (uint32_t)(uintptr_t)low) + 4, 4);
	call(4, pair, STRING("z"), 1, 0, 0);
	memcpy(&pair, low + (two - (uint32_t)(uintptr_t)low), 4);
	call(168, WORDS(pair, 1), 1, 100, 0, 0);		/* poll */
	call(142, pair + 1, WORDS(1u << pair, 0), 0, 0, WORDS(0, 1000));
	call(187, f, f, WORDS(0), 0, 0);			/* sendfile */
	two = room(8);
	call(102, 8, WORDS(1, 2, 0, two), 0, 0, 0);		/* socketpair */
	memcpy(&pair, low + (two - (uint32_t)(uintptr_t)low), 4);
	call(102, 9, WORDS(pair, STRING("sent"), 4, 0), 0, 0, 0);	/* send */
	message = WORDS(0, 0, WORDS(STRING("in a message"), 12), 1, 0, 0, 0);
	call(102, 16, WORDS(pair, message, 0), 0, 0, 0);	/* sendmsg */
	memcpy(&pair, low + (two - (uint32_t)(uintptr_t)low) + 4, 4);
	call(102, 10, WORDS(pair, buffer, 32, 0), 0, 0, 0);	/* recv */
	message = WORDS(0, 0, WORDS(buffer, 32), 1, 0, 0, 0);
	call(372, pair, message, 0, 0, 0);			/* recvmsg */
	call(102, 6, WORDS(pair, room(112), WORDS(110)), 0, 0, 0);	/* getsockname */
	call(359, 1, 2, 0, 0, 0);				/* socket */
	call(33, STRING("/does/not/exist"), 0, 0, 0, 0);	/* access */
	call(3, 77, buffer, 8, 0, 0);				/* read: EBADF */
	call(11, STRING("/bin/true"), WORDS(STRING("true"), STRING("argument"), 0),
	     WORDS(STRING("A=b"), 0), 0, 0);			/* execve */
	return 5;
}
