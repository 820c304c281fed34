// SPDX-License-Identifier: MIT
/*
 * terminal SECRET-FILE COMMAND...: runs a command at a terminal of its own, types the first line of the file when it is
 * asked for a passphrase, and prints what a person would have seen, and whether the terminal would have shown the line.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

static int need(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static const char *echo_of(int master)
{
	struct termios state;

	need(tcgetattr(master, &state), "tcgetattr");
	return state.c_lflag & ECHO ? "on" : "off";
}

int main(int argc, char **argv)
{
	int master = need(posix_openpt(O_RDWR | O_NOCTTY), "posix_openpt");
	char secret[256], seen[4096] = "";
	size_t len = 0;
	int answered = 0, status;
	FILE *file;
	pid_t child;

	if (argc < 3)
		errx(1, "usage: terminal SECRET-FILE COMMAND...");
	file = fopen(argv[1], "re");
	if (!file || !fgets(secret, sizeof(secret), file))
		err(1, "%s", argv[1]);
	need(grantpt(master), "grantpt");
	need(unlockpt(master), "unlockpt");
	child = need(fork(), "fork");
	if (child == 0) {
		int end;

		need(setsid(), "setsid");
		end = need(open(ptsname(master), O_RDWR), "open");
		need(ioctl(end, TIOCSCTTY, 0), "TIOCSCTTY");
		close(master);
		for (int fd = 0; fd < 3; fd++)
			need(dup2(end, fd), "dup2");
		execv(argv[2], argv + 2);
		err(1, "%s", argv[2]);
	}
	while (len < sizeof(seen) - 1) {
		ssize_t n = read(master, seen + len, sizeof(seen) - 1 - len);

		/* EIO: the last one at the terminal has gone. */
		if (n <= 0)
			break;
		len += n;
		seen[len] = '\0';
		if (!answered && strstr(seen, ": ")) {
			printf("echo %s\n", echo_of(master));
			need(write(master, secret, strlen(secret)), "write");
			answered = 1;
		}
	}
	need(waitpid(child, &status, 0), "waitpid");
	printf("seen: %s\nstatus %d\n", seen, WIFEXITED(status) ? WEXITSTATUS(status) : 128);
	return 0;
}
