// SPDX-License-Identifier: MIT
/* Programs that make their calls in unusual ways, or are not what was started. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ways.h"

static const char made[] = "made-by-another-call";

static void ask_for_pid(void *arg)
{
	(void)arg;
	need(ptrace(PTRACE_TRACEME, 0, 0, 0));
	need(raise(SIGSTOP));
	syscall(SYS_getppid);
}

/* Its tracer turns a harmless call into mkdir(). */
WAY("ptrace-call")
{
	pid_t pid = spawn(ask_for_pid, NULL);
	struct user_regs_struct regs;
	struct stat st;
	int status;

	need(waitpid(pid, &status, 0));
	must(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	do {
		need(ptrace(PTRACE_SYSCALL, pid, 0, 0));
		need(waitpid(pid, &status, 0));
		must(WIFSTOPPED(status));
		need(ptrace(PTRACE_GETREGS, pid, 0, &regs));
	} while (regs.orig_rax != SYS_getppid);
	regs.orig_rax = SYS_mkdir;
	regs.rdi = (uintptr_t)made;
	regs.rsi = 0711;
	need(ptrace(PTRACE_SETREGS, pid, 0, &regs));
	need(ptrace(PTRACE_DETACH, pid, 0, 0));
	reap(pid, 0);
	need(stat(made, &st));
}

#define IA32_MKDIR 39

/* The 32-bit entry, from 64-bit code. */
WAY("int80")
{
	char *low = (char *)need(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	long result;

	strcpy(low, "made-by-int80");
	asm volatile("int $0x80" : "=a"(result) : "a"(IA32_MKDIR), "b"(low), "c"(0711) : "memory");
	must(result == 0);
}

static char *const inner[] = { "exec-inner", "1", "0", NULL };

/* What the next two become. */
WAY("exec-inner")
{
	need(close(make_file("by-the-new-program", 2000)));
}

/* A program that has no name on any disk. */
WAY("exec-memfd")
{
	int self = need(open("/proc/self/exe", O_RDONLY)), copy = need(memfd_create("nobody", MFD_CLOEXEC));
	struct stat st;

	need(fstat(self, &st));
	for (off_t at = 0; at < st.st_size; )
		need(sendfile(copy, self, &at, st.st_size - at));
	need(fexecve(copy, inner, environ));
}

static void *exec_here(void *arg)
{
	(void)arg;
	need(execv("/proc/self/exe", inner));
	return NULL;
}

/* A thread that is not the first takes the first one's id. */
WAY("exec-by-thread")
{
	pthread_t thread;

	must(pthread_create(&thread, NULL, exec_here, NULL) == 0);
	for (;;)
		pause();
}

static int write_as_brother(void *arg)
{
	(void)arg;
	need(close(make_file("by-a-brother", 2000)));
	return 0;
}

/* Its father is ours, not we: who made it is told by nothing else. */
WAY("clone-parent")
{
	static char stack[64 * 1024] __attribute__((aligned(16)));
	struct stat st;

	need(clone(write_as_brother, stack + sizeof(stack), CLONE_PARENT | SIGCHLD, NULL));
	for (int i = 0; i < 500 && stat("by-a-brother", &st); i++)
		pause_us(10000);
	pause_us(200000);
	need(stat("by-a-brother", &st));
}

static void leave(void *arg)
{
	(void)arg;
	/* No spawn(): its children die with their parent. */
	if (need(fork()))
		_exit(0);
	need(setsid());
	pause_us(300000);
	need(close(make_file("by-a-daemon", 2000)));
}

/* Its father is gone before it writes; ours waits no longer. */
WAY("daemon")
{
	struct stat st;

	reap(spawn(leave, NULL), 0);
	for (int i = 0; i < 500 && stat("by-a-daemon", &st); i++)
		pause_us(10000);
	pause_us(200000);
	need(stat("by-a-daemon", &st));
}
