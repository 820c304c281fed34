// SPDX-License-Identifier: MIT
/* clock ROUNDS: asks the kernel for the time by system calls, at once and after pauses of many lengths. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now, pause = { 0 };
	int rounds = argc > 1 ? atoi(argv[1]) : 1;
	volatile int work;
	int i;

	for (i = 0; i < rounds; i++) {
		if (syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now))
			return 1;
		for (work = i * 37 % 4000; i % 3 == 0 && work > 0; work--)
			;
		pause.tv_nsec = i * 7919 % 3000000;
		if (i % 50 == 0 && nanosleep(&pause, NULL))
			return 1;
	}
	return 0;
}
