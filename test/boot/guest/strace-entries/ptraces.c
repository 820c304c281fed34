// SPDX-License-Identifier: MIT
// What ptrace() reads and writes; not to be run under strace, which would be
// the only tracer that there can be.
#define _GNU_SOURCE
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "entry.h"

#define IA32_PTRACE 26
#define X32_PTRACE 521
#define SIGINFO 128

static pid_t child;

static long trace(int request, uint64_t addr, const void *data)
{
	long nr = entry == ENTRY_64 ? SYS_ptrace : entry == ENTRY_IA32 ? IA32_PTRACE : X32_PTRACE;

	return CALL(nr, request, child, addr, data);
}

static void *got(int request, uint64_t addr, size_t size)
{
	void *at = put(NULL, size);

	trace(request, addr, watch(3, "out", at, size));
	return at;
}

static void set(int request, uint64_t addr, void *content, size_t size)
{
	trace(request, addr, watch(3, "in", content, size));
}

void ptraces(void)
{
	/* Those of the calling convention, not of the child: x32 has 64-bit registers */
	size_t registers = entry == ENTRY_IA32 ? 68 : sizeof(struct user_regs_struct);
	size_t floats = entry == ENTRY_IA32 ? 108 : sizeof(struct user_fpregs_struct);
	size_t word = entry == ENTRY_64 ? 8 : 4;
	uint32_t *stack = put(NULL, 4096);

	stack[0] = 0x12345678;
	stack[1] = 0x9abcdef0;
	child = fork();
	if (child == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		_exit(0);
	}
	if (child < 0 || waitpid(child, NULL, 0) != child)
		exit(40);
	got(PTRACE_PEEKDATA, LOW(stack), word);
	got(PTRACE_PEEKUSER, 0, word);
	got(PTRACE_GETEVENTMSG, 0, word);
	set(PTRACE_SETREGS, 0, got(PTRACE_GETREGS, 0, registers), registers);
	set(PTRACE_SETFPREGS, 0, got(PTRACE_GETFPREGS, 0, floats), floats);
	set(PTRACE_SETSIGINFO, 0, got(PTRACE_GETSIGINFO, 0, SIGINFO), SIGINFO);
	set(PTRACE_SETSIGMASK, 8, got(PTRACE_GETSIGMASK, 8, 8), 8);
	trace(PTRACE_CONT, 0, NULL);
	if (waitpid(child, NULL, 0) != child)
		exit(41);
	got(PTRACE_GETREGS, 0, registers);	/* nobody there */
}
