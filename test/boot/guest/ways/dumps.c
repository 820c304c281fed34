// SPDX-License-Identifier: MIT
/* Files that the kernel writes on a program's behalf. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ways.h"

static void crash(void *arg)
{
	struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	need(setrlimit(RLIMIT_CORE, &unlimited));
	/* What it stored last is in the dump, and in the file. */
	strcpy(arg, "stored before the crash");
	abort();
}

static void dump_to(const char *pattern)
{
	char *map = map_file(make_file("mapped", PAGE), PAGE);

	write_text("/proc/sys/kernel/core_pattern", pattern);
	reap(spawn(crash, map), SIGABRT);
	write_text("/proc/sys/kernel/core_pattern", "core");
}

WAY("core-dump")
{
	struct stat st;

	dump_to("dumped");
	need(stat("dumped", &st));
	must(st.st_size > (off_t)PAGE);
}

/* A program that the kernel starts reads the dump: ARG is its path, our own under another name. */
WAY("core-pipe")
{
	char pattern[128], dir[64];
	struct stat st;

	must(getcwd(dir, sizeof(dir)) != NULL);
	snprintf(pattern, sizeof(pattern), "|%s 1 0 %s/piped", way_arg, dir);
	dump_to(pattern);
	for (int i = 0; i < 500 && stat("piped.done", &st); i++)
		pause_us(20000);
	need(stat("piped", &st));
	must(st.st_size > (off_t)PAGE);
}

WAY("core-reader")
{
	static char buf[65536];
	int fd = need(open(way_arg, O_WRONLY | O_CREAT | O_TRUNC, 0600));
	char done[128];
	ssize_t n;

	while ((n = need(read(0, buf, sizeof(buf)))) > 0)
		must(write(fd, buf, n) == n);
	snprintf(done, sizeof(done), "%s.done", way_arg);
	need(close(need(open(done, O_WRONLY | O_CREAT, 0600))));
}

static void end_at_once(void *arg)
{
	(void)arg;
}

WAY("accounting")
{
	struct stat st;

	need(close(make_file("acct", 0)));
	need(acct("acct"));
	for (int i = 0; i < 20; i++)
		reap(spawn(end_at_once, NULL), 0);
	need(acct(NULL));
	need(stat("acct", &st));
	must(st.st_size >= 20 * 64);
}
