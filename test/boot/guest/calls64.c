// SPDX-License-Identifier: MIT
/*
 * System calls from 64-bit code, TIMES of each: by `syscall`, plain, with
 * prefixes and with x32 numbers; by `int $0x80`; and `sysenter`, which is an
 * illegal instruction here. Prints how many of the last there were.
 * Usage: calls64 TIMES [first]    first: before all that has no real-time priority
 */
#define _GNU_SOURCE
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#define X32_BIT 0x40000000
#define IA32_GETPID 20

static unsigned long illegal;

static void on_sigill(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;

	(void)sig, (void)info;
	illegal++;
	/* sysenter has two bytes */
	uc->uc_mcontext.gregs[REG_RIP] += 2;
}

int main(int argc, char **argv)
{
	struct sigaction act = { .sa_sigaction = on_sigill, .sa_flags = SA_SIGINFO };
	long times = argc > 1 ? atol(argv[1]) : 100;

	if (argc > 2 && sched_setscheduler(0, SCHED_FIFO, &(struct sched_param){ .sched_priority = 1 })) {
		perror("sched_setscheduler");
		return 1;
	}
	sigaction(SIGILL, &act, NULL);
	for (long i = 0; i < times; i++) {
		long ax = SYS_getpid;

		__asm__ volatile("syscall" : "+a"(ax) : : "rcx", "r11", "memory");
		ax = SYS_getpid;
		/* an operand size, a segment, and a REX prefix change nothing */
		__asm__ volatile(".byte 0x66, 0x2e, 0x48, 0x0f, 0x05" : "+a"(ax) : : "rcx", "r11", "memory");
		ax = SYS_getpid | X32_BIT;
		__asm__ volatile("syscall" : "+a"(ax) : : "rcx", "r11", "memory");
		ax = IA32_GETPID;
		__asm__ volatile("int $0x80" : "+a"(ax) : : "r8", "r9", "r10", "r11", "memory");
		__asm__ volatile("sysenter" : : : "memory");
	}
	printf("illegal %lu\n", illegal);
	return 0;
}
