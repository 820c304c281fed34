// SPDX-License-Identifier: MIT
/* A process stores to the shared mapping of another one, which sleeps. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ways.h"

#define LEN (8 * PAGE)

static char *theirs;

static void sleep_mapped(void *arg)
{
	(void)arg;
	/* Touched for reading only: the first store is the other's. */
	must(theirs[0] == theirs[0]);
	for (;;)
		pause();
}

/* The victim has the mapping, we do not. */
static pid_t victim(void)
{
	int fd = make_file("mapped", LEN);
	pid_t pid;

	theirs = map_file(fd, LEN);
	pid = spawn(sleep_mapped, NULL);
	need(munmap(theirs, LEN));
	need(close(fd));
	return pid;
}

static void end(pid_t pid)
{
	need(kill(pid, SIGKILL));
	reap(pid, SIGKILL);
}

WAY("vm-writev")
{
	pid_t pid = victim();
	static char text[5000];

	do {
		struct iovec local = { text, 1 + below(sizeof(text)) };
		struct iovec remote = { theirs + below(LEN - sizeof(text)), local.iov_len };

		fill(text, sizeof(text));
		must(process_vm_writev(pid, &local, 1, &remote, 1, 0) == (ssize_t)local.iov_len);
	} while (going());
	end(pid);
}

WAY("ptrace-poke")
{
	pid_t pid = victim();

	need(ptrace(PTRACE_SEIZE, pid, 0, 0));
	need(ptrace(PTRACE_INTERRUPT, pid, 0, 0));
	need(waitpid(pid, NULL, __WALL));
	do {
		need(ptrace(PTRACE_POKEDATA, pid, theirs + below(LEN - 8), (long)below(1u << 31) * 3));
	} while (going());
	need(ptrace(PTRACE_DETACH, pid, 0, 0));
	end(pid);
}

WAY("proc-mem")
{
	pid_t pid = victim();
	static char text[6000];
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "/proc/%d/mem", pid);
	fd = need(open(name, O_RDWR));
	do {
		size_t len = 1 + below(sizeof(text));

		fill(text, 64);
		must(pwrite(fd, text, len, (uintptr_t)theirs + below(LEN - sizeof(text))) == (ssize_t)len);
	} while (going());
	end(pid);
}
