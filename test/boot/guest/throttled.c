// SPDX-License-Identifier: MIT
/*
 * throttled COMMAND...: says "ready" on the console, runs the command when a line comes, says "waiting" there once the
 * driver makes a task wait, and prints in the end how many it did, and for how long from then on the command was not done.
 * What would say so itself, recorded, would wait as well.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lemona_abi.h"

#define POLL_US 10000

static int driver;

static unsigned long long throttled(void)
{
	struct lemona_stats stats;

	if (ioctl(driver, LEMONA_IOC_STATS, &stats))
		err(1, "LEMONA_IOC_STATS");
	return stats.throttled;
}

static long long now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000ll + now.tv_nsec / 1000000;
}

static void say(const char *words)
{
	int console = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);

	if (console < 0 || dprintf(console, "throttled: %s\n", words) < 0)
		err(1, "/dev/console");
	close(console);
}

int main(int argc, char **argv)
{
	unsigned long long before;
	long long since = 0;
	int go[2], status = 0;
	char line;
	pid_t child;

	driver = open("/dev/lemona", O_RDWR | O_CLOEXEC);
	if (argc < 2 || driver < 0 || pipe2(go, O_CLOEXEC))
		err(1, "/dev/lemona");
	child = fork();
	if (child == 0) {
		if (read(go[0], &line, 1) == 1)
			execvp(argv[1], argv + 1);
		err(1, "%s", argv[1]);
	}
	/* The command is recorded, and this is not. */
	if (child < 0 || ioctl(driver, LEMONA_IOC_EXEMPT))
		err(1, "LEMONA_IOC_EXEMPT");
	say("ready");
	if (read(STDIN_FILENO, &line, 1) != 1)
		errx(1, "nobody said go");
	before = throttled();
	if (write(go[1], &line, 1) != 1)
		err(1, "go");
	while (waitpid(child, &status, WNOHANG) == 0) {
		if (!since && throttled() > before) {
			since = now_ms();
			say("waiting");
		}
		usleep(POLL_US);
	}
	printf("%llu waits, %lld ms\n", throttled() - before, since ? now_ms() - since : 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
