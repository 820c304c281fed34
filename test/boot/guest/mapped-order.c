// SPDX-License-Identifier: MIT
/*
 * What is stored to a mapping before a write of somebody who knows of it. In each round a number is stored to every
 * page of a file, and then written to another one.
 * Usage: mapped-order MODE PAGES ROUNDS
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGE 4096
#define CALLERS 2
#define STACK 65536

static size_t pages;
static char *map;
static int written;
/* Shared with children, and in no file */
static volatile struct {
	uint64_t asked, done;
	pid_t begotten;
} *shared;

static void need(int isTrue, const char *what)
{
	if (isTrue)
		return;
	perror(what);
	exit(1);
}

static void store(uint64_t number)
{
	for (size_t i = 0; i < pages; i++)
		memcpy(map + i * PAGE, &number, sizeof(number));
}

static void tell(uint64_t number)
{
	need(pwrite(written, &number, sizeof(number), 0) == sizeof(number), "pwrite");
}

/* Have the other process do a step, and wait until it has. No call: that would capture. */
static void ask(uint64_t step)
{
	shared->asked = step;
	while (shared->done < step)
		;
}

static void await(uint64_t step)
{
	while (shared->asked < step)
		;
}

/* A child that does something in each round. Nobody takes its processor or ours: that would capture what was stored. */
static pid_t begin(void (*child)(uint64_t), uint64_t rounds)
{
	struct sched_param param = { .sched_priority = 1 };
	pid_t pid;

	need(!sched_setscheduler(0, SCHED_FIFO, &param), "sched_setscheduler");
	pid = fork();
	need(pid >= 0, "fork");
	if (pid)
		return pid;
	for (uint64_t number = 1; number <= rounds; number++)
		child(number);
	exit(0);
}

static void end_of(pid_t pid)
{
	int status;

	need(waitpid(pid, &status, 0) == pid, "waitpid");
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	end_of(pid);
}

static volatile int is_over;

static void *call_on(void *unused)
{
	while (!is_over)
		(void)getppid();
	return unused;
}

/* Other threads of the same process make calls, which capture, and so does the driver's own. */
static void threads(uint64_t rounds)
{
	pthread_t callers[CALLERS];

	for (int i = 0; i < CALLERS; i++)
		need(!pthread_create(&callers[i], NULL, call_on, NULL), "pthread_create");
	for (uint64_t number = 1; number <= rounds; number++) {
		store(number);
		tell(number);
	}
	is_over = 1;
	for (int i = 0; i < CALLERS; i++)
		pthread_join(callers[i], NULL);
}

static void sleep_on(uint64_t number)
{
	(void)number;
	pause();
}

/* The stores are to the mapping of another process. */
static void tracer(uint64_t rounds)
{
	pid_t pid = begin(sleep_on, 1);

	for (uint64_t number = 1; number <= rounds; number++) {
		struct iovec from = { &number, sizeof(number) };

		for (size_t i = 0; i < pages; i++) {
			struct iovec to = { map + i * PAGE, sizeof(number) };

			need(process_vm_writev(pid, &from, 1, &to, 1, 0) == sizeof(number), "process_vm_writev");
		}
		tell(number);
	}
	end(pid);
}

static void store_and_stop(uint64_t number)
{
	if (number == 1)
		need(!ptrace(PTRACE_TRACEME, 0, 0, 0), "PTRACE_TRACEME");
	store(number);
	asm volatile("int3");
}

/* He who stored has stopped on his way, without a call. */
static void stopped(uint64_t rounds)
{
	pid_t pid = begin(store_and_stop, rounds);

	for (uint64_t number = 1; number <= rounds; number++) {
		int status;

		need(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status), "no stop");
		tell(number);
		need(!ptrace(PTRACE_CONT, pid, 0, 0), "PTRACE_CONT");
	}
	end(pid);
}

static void read_and_compute(uint64_t number)
{
	static int ends[2];

	if (number == 1)
		need(!pipe(ends), "pipe");
	await(number);
	need(write(ends[1], &number, sizeof(number)) == sizeof(number), "write");
	need(read(ends[0], map, sizeof(number)) == sizeof(number), "read");
	shared->done = number;
}

/* It is a call that has stored, and no other one came after it. */
static void call(uint64_t rounds)
{
	pid_t pid = begin(read_and_compute, rounds + 1);

	for (uint64_t number = 1; number <= rounds; number++) {
		ask(number);
		tell(number);
	}
	end(pid);
}

static void store_and_compute(uint64_t number)
{
	await(number);
	store(number);
	shared->done = number;
}

/* Who has seen it stores to the same page. */
static void seen(uint64_t rounds)
{
	pid_t pid = begin(store_and_compute, rounds + 1);

	for (uint64_t number = 1; number <= rounds; number++) {
		ask(number);
		map[PAGE / 2] = (char)number;
		tell(number);
	}
	end(pid);
}

static void store_aside(uint64_t number)
{
	await(2 * number - 1);
	map[PAGE / 2] = (char)number;
	shared->done = 2 * number - 1;
	await(2 * number);
	tell(0);
	shared->done = 2 * number;
}

/* He who tells has stored before another one's store was captured, and that was undone since. */
static void undone(uint64_t rounds)
{
	pid_t pid = begin(store_aside, rounds + 1);

	for (uint64_t number = 1; number <= rounds; number++) {
		(void)getppid();
		ask(2 * number - 1);
		store(7);
		(void)getppid();
		store(0);
		ask(2 * number);
	}
	end(pid);
}

/* One call has a request that stores, and one that writes. */
static void aio(uint64_t rounds)
{
	int source = open("source", O_RDWR | O_CREAT, 0644);
	aio_context_t context = 0;

	need(source >= 0 && !syscall(SYS_io_setup, 2, &context), "io_setup");
	for (uint64_t number = 1; number <= rounds; number++) {
		struct iocb reads = { .aio_lio_opcode = IOCB_CMD_PREAD, .aio_fildes = source, .aio_buf = (uintptr_t)map,
				      .aio_nbytes = sizeof(number) };
		struct iocb writes = { .aio_lio_opcode = IOCB_CMD_PWRITE, .aio_fildes = written,
				       .aio_buf = (uintptr_t)&number, .aio_nbytes = sizeof(number) };
		struct iocb *all[] = { &reads, &writes };
		struct io_event events[2];

		need(pwrite(source, &number, sizeof(number), 0) == sizeof(number), "pwrite");
		need(syscall(SYS_io_submit, context, 2, all) == 2, "io_submit");
		need(syscall(SYS_io_getevents, context, 2, 2, events, NULL) == 2, "io_getevents");
	}
}

static int go(void *unused)
{
	(void)unused;
	return 0;
}

static void beget(uint64_t number)
{
	static char stack[STACK] __attribute__((aligned(16)));
	pid_t pid;

	await(number);
	*(int32_t *)map = 1;
	/* captured, so that clearing it is a store anew */
	(void)getppid();
	pid = clone(go, stack + STACK, CLONE_VM | CLONE_PARENT | CLONE_CHILD_CLEARTID | SIGCHLD, NULL, NULL, NULL, map);
	need(pid > 0, "clone");
	shared->begotten = pid;
	shared->done = number;
}

/* The kernel clears a word when a task is gone, and tells its parent, who has a memory of his own. */
static void gone(uint64_t rounds)
{
	pid_t pid = begin(beget, rounds + 1);

	for (uint64_t number = 1; number <= rounds; number++) {
		ask(number);
		end_of(shared->begotten);
		tell(0);
	}
	end(pid);
}

static const struct {
	const char *name;
	void (*run)(uint64_t rounds);
} modes[] = {
	{ "threads", threads }, { "tracer", tracer }, { "stopped", stopped },
	{ "call", call }, { "seen", seen }, { "undone", undone }, { "aio", aio }, { "gone", gone },
};

int main(int argc, char **argv)
{
	int mapped = open("mapped", O_RDWR | O_CREAT, 0644);

	written = open("written", O_WRONLY | O_CREAT, 0644);
	need(argc == 4 && mapped >= 0 && written >= 0, "mapped-order");
	pages = strtoul(argv[2], NULL, 10);
	need(!ftruncate(mapped, (off_t)(pages * PAGE)), "ftruncate");
	map = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, mapped, 0);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	need(map != MAP_FAILED && shared != MAP_FAILED, "mmap");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		if (!strcmp(modes[i].name, argv[1])) {
			modes[i].run(strtoull(argv[3], NULL, 10));
			return 0;
		}
	}
	need(0, argv[1]);
}
