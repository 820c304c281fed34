// SPDX-License-Identifier: MIT
/*
 * Floods the buffers: PROCESSES processes, of which each calls getpid() CALLS
 * times; every fourth one writes to a file of its own instead. Beside them a
 * modest process named "modest" makes MODEST writes to the file `modest`, one
 * every 10 ms.
 *
 *   flood FOLDER PROCESSES CALLS MODEST
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void flood(int number, long calls)
{
	char name[32], data[512];
	int fd;

	if (number % 4 != 3) {
		while (calls-- > 0)
			syscall(SYS_getpid);
		return;
	}
	snprintf(name, sizeof(name), "flood%d", number);
	fd = open(name, O_CREAT | O_WRONLY | O_TRUNC, 0644);
	if (fd < 0)
		err(1, "%s", name);
	for (; calls > 0; calls -= 16) {
		memset(data, 'a' + (calls / 16 + number) % 26, sizeof(data));
		if (pwrite(fd, data, sizeof(data), calls % 65536) < 0)
			err(1, "pwrite");
	}
}

static void modest(int writes)
{
	int fd = open("modest", O_CREAT | O_WRONLY | O_TRUNC | O_APPEND, 0644);
	char line[32];
	int i;

	if (fd < 0)
		err(1, "modest");
	for (i = 0; i < writes; i++) {
		usleep(10000);
		if (write(fd, line, snprintf(line, sizeof(line), "line %d\n", i)) < 0)
			err(1, "write");
	}
}

int main(int argc, char **argv)
{
	int processes, i, status, bad = 0;

	if (argc != 5 || chdir(argv[1]))
		errx(2, "usage: flood FOLDER PROCESSES CALLS MODEST");
	processes = atoi(argv[2]);
	for (i = 0; i <= processes; i++) {
		pid_t pid = fork();

		if (pid < 0)
			err(1, "fork");
		if (pid)
			continue;
		if (i < processes) {
			flood(i, atol(argv[3]));
		} else {
			prctl(PR_SET_NAME, "modest");
			modest(atoi(argv[4]));
		}
		exit(0);
	}
	while (wait(&status) > 0)
		bad |= status;
	return bad ? 1 : 0;
}
