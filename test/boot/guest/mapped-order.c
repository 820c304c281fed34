// SPDX-License-Identifier: MIT
/*
 * What is stored to a mapping before a write, and what is captured of it by others meanwhile: other threads of the
 * same process, which make calls, and the driver's own thread. In each round a number is stored to every page of a
 * file, and then written to another file.
 * Usage: mapped-order threads|tracer PAGES ROUNDS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define CALLERS 2

static size_t pages;
static char *map;
static volatile int is_done;

static void need(int isTrue, const char *what)
{
	if (isTrue)
		return;
	perror(what);
	exit(1);
}

static void *call_on(void *unused)
{
	while (!is_done)
		(void)getppid();
	return unused;
}

static void store(uint64_t number)
{
	for (size_t i = 0; i < pages; i++)
		memcpy(map + i * PAGE, &number, sizeof(number));
}

/* Stores to the mapping of another process, in which the page has been before and is none of one's own. */
static void store_to(pid_t pid, uint64_t number)
{
	struct iovec from = { &number, sizeof(number) };

	for (size_t i = 0; i < pages; i++) {
		struct iovec to = { map + i * PAGE, sizeof(number) };

		need(process_vm_writev(pid, &from, 1, &to, 1, 0) == sizeof(number), "process_vm_writev");
	}
}

int main(int argc, char **argv)
{
	int isTracer = argc == 4 && !strcmp(argv[1], "tracer");
	uint64_t rounds = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
	int mapped = open("mapped", O_RDWR | O_CREAT, 0644), written = open("written", O_WRONLY | O_CREAT, 0644);
	pthread_t callers[CALLERS];
	pid_t child = 0;

	need(argc == 4 && mapped >= 0 && written >= 0, "mapped-order");
	pages = strtoul(argv[2], NULL, 10);
	need(ftruncate(mapped, (off_t)(pages * PAGE)) == 0, "ftruncate");
	map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	need(map != MAP_FAILED, "mmap");
	if (isTracer) {
		child = fork();
		need(child >= 0, "fork");
		while (!child)
			pause();
	} else {
		for (int i = 0; i < CALLERS; i++)
			need(!pthread_create(&callers[i], NULL, call_on, NULL), "pthread_create");
	}
	for (uint64_t number = 1; number <= rounds; number++) {
		if (isTracer)
			store_to(child, number);
		else
			store(number);
		need(pwrite(written, &number, sizeof(number), 0) == sizeof(number), "pwrite");
	}
	is_done = 1;
	if (isTracer) {
		kill(child, SIGKILL);
		need(waitpid(child, NULL, 0) == child, "waitpid");
	} else {
		for (int i = 0; i < CALLERS; i++)
			pthread_join(callers[i], NULL);
	}
	return 0;
}
