// SPDX-License-Identifier: MIT
/*
 * Loads the driver, over and over, and each time another allocation of its loading
 * fails: the first, the second, and so on: load-failing MODULE PARAMETERS
 *
 * Where the loading fails for that, nothing may be left of the driver; where it
 * does without that memory, it is unloaded. Ends when it makes no more allocations
 * that could fail, with
 *
 *   allocations N: N ended the loading, N were done without
 *
 * and status 0, or with the first thing that was wrong and status 1.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define DEVICE "/dev/lemona"
#define NAME "lemona"
/* Of this thread, in the kernel: which allocation from now on fails; 0 when it has. */
#define FAIL_NTH "/proc/thread-self/fail-nth"

static void fail(const char *what, int nth)
{
	printf("allocation %d: %s: %s\n", nth, what, strerror(errno));
	exit(1);
}

static void set_failing(int file, int nth)
{
	char text[16];

	if (pwrite(file, text, sprintf(text, "%d", nth), 0) < 0)
		fail(FAIL_NTH, nth);
}

static int left_to_fail(int file)
{
	char text[16] = "";

	if (pread(file, text, sizeof(text) - 1, 0) <= 0)
		fail(FAIL_NTH, 0);
	return atoi(text);
}

int main(int argc, char **argv)
{
	int module, failing, ended = 0, without = 0;

	if (argc != 3)
		return 2;
	module = open(argv[1], O_RDONLY | O_CLOEXEC);
	if (module < 0)
		fail(argv[1], 0);
	failing = open(FAIL_NTH, O_RDWR | O_CLOEXEC);
	if (failing < 0)
		fail(FAIL_NTH, 0);
	for (int nth = 1;; nth++) {
		int status, error, left;

		set_failing(failing, nth);
		status = syscall(SYS_finit_module, module, argv[2], 0);
		error = errno;
		left = left_to_fail(failing);
		set_failing(failing, 0);
		errno = error;
		if (status && error != ENOMEM)
			fail("loading", nth);
		if (!status && syscall(SYS_delete_module, NAME, O_NONBLOCK))
			fail("unloading", nth);
		if (!access(DEVICE, F_OK))
			fail("left behind: " DEVICE, nth);
		if (!access("/sys/module/" NAME, F_OK))
			fail("left behind: /sys/module/" NAME, nth);
		if (left) {
			printf("allocations %d: %d ended the loading, %d were done without\n", nth - 1, ended, without);
			return 0;
		}
		if (status)
			ended++;
		else
			without++;
	}
}
