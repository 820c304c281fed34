// SPDX-License-Identifier: MIT
/*
 * System calls that never run, or whose task dies over them: refused by
 * seccomp with every verdict, by its strict mode, by user dispatch and by
 * ptrace, or by two of these; what looks like one to seccomp and is none; and
 * tasks killed at random moments in a flood of calls.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#define TIMES 5
#define FLOODS 24
#define VSYSCALL_TIME 0xffffffffff600400ul

#ifndef PR_SET_SYSCALL_USER_DISPATCH
#define PR_SET_SYSCALL_USER_DISPATCH 59
#define PR_SYS_DISPATCH_ON 1
#endif

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* This call gets this verdict, all else is allowed. */
static void filter_call(unsigned int nr, unsigned int verdict)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, verdict),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = sizeof(code) / sizeof(code[0]), .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		die("seccomp");
}

static void filter(unsigned int verdict)
{
	filter_call(SYS_getppid, verdict);
}

static void by_errno(void)
{
	filter(SECCOMP_RET_ERRNO | 7);
	for (int i = 0; i < TIMES; i++)
		syscall(SYS_getppid);
}

static void by_trap(void)
{
	signal(SIGSYS, SIG_IGN);
	filter(SECCOMP_RET_TRAP);
	syscall(SYS_getppid);
}

static void by_untraced(void)
{
	filter(SECCOMP_RET_TRACE);
	syscall(SYS_getppid);
}

static void by_process_kill(void)
{
	filter(SECCOMP_RET_KILL_PROCESS);
	syscall(SYS_getppid);
}

static void *killed_thread(void *arg)
{
	filter(SECCOMP_RET_KILL_THREAD);
	syscall(SYS_getppid);
	return arg;
}

static void by_thread_kill(void)
{
	for (int i = 0; i < TIMES; i++) {
		pthread_t thread;

		if (pthread_create(&thread, NULL, killed_thread, NULL))
			die("pthread_create");
		pthread_join(thread, NULL);
	}
}

static void by_strict_mode(void)
{
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		die("strict seccomp");
	syscall(SYS_getppid);
}

static volatile char selector;

static void on_dispatch(int sig)
{
	(void)sig;
	selector = 0;
}

static void by_user_dispatch(void)
{
	signal(SIGSYS, on_dispatch);
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector))
		die("user dispatch");
	for (int i = 0; i < TIMES; i++) {
		selector = 1;
		syscall(SYS_getppid);
	}
}

/* A selector that is neither: the kernel ends the process. */
static void by_bad_selector(void)
{
	if (prctl(PR_SET_SYSCALL_USER_DISPATCH, PR_SYS_DISPATCH_ON, 0, 0, &selector))
		die("user dispatch");
	selector = 2;
	syscall(SYS_getppid);
}

/* A tracer skips some of its calls, and kills it when it stops at another. */
static void by_tracer(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		raise(SIGSTOP);
		for (;;)
			syscall(SYS_getppid);
	}
	waitpid(pid, NULL, 0);
	for (int i = 0; i < TIMES; i++) {
		ptrace(PTRACE_SYSEMU, pid, 0, 0);
		waitpid(pid, NULL, 0);
	}
	/* the end of the last one skipped, then entries and ends by turns: the last stop is at an entry */
	for (int i = 0; i < 2 * TIMES; i++) {
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, NULL, 0);
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* Until it stops there; which call it is then, is the tracer's to say. */
static void change_call(pid_t pid, enum __ptrace_request until, unsigned long nr)
{
	ptrace(until, pid, 0, 0);
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_POKEUSER, pid, offsetof(struct user_regs_struct, orig_rax), nr);
}

/* A tracer makes another call of one, which is then refused; and it has refused ones skipped. */
static void by_tracer_and_filter(void)
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, 0, 0);
		filter(SECCOMP_RET_ERRNO | 7);
		filter_call(SYS_getpgrp, SECCOMP_RET_TRACE);
		/* raise() has a call of its own after the stop */
		syscall(SYS_kill, getpid(), SIGSTOP);
		for (int i = 0; i < TIMES; i++) {
			if (syscall(SYS_getuid) != -1 || errno != 7)
				_exit(1);
		}
		for (int i = 0; i < TIMES; i++)
			syscall(SYS_getpgrp);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESECCOMP);
	for (int i = 0; i < TIMES; i++) {
		change_call(pid, PTRACE_SYSCALL, SYS_getppid);
		ptrace(PTRACE_SYSCALL, pid, 0, 0);
		waitpid(pid, NULL, 0);
	}
	for (int i = 0; i < TIMES; i++)
		change_call(pid, PTRACE_CONT, -1ul);
	ptrace(PTRACE_CONT, pid, 0, 0);
	waitpid(pid, &status, 0);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
}

/* The page that has no code: what is called there, the kernel does in a page fault. */
static void vsyscall_time(void)
{
	((long (*)(void *))VSYSCALL_TIME)(NULL);
}

static void *killed_in_vsyscall(void *arg)
{
	filter_call(SYS_time, SECCOMP_RET_KILL_THREAD);
	vsyscall_time();
	return arg;
}

static void by_vsyscall(void)
{
	pthread_t thread;

	vsyscall_time();
	if (pthread_create(&thread, NULL, killed_in_vsyscall, NULL))
		die("pthread_create");
	pthread_join(thread, NULL);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_STRICT))
		die("strict seccomp");
	vsyscall_time();
}

static void *flood(void *arg)
{
	for (;;)
		syscall(SYS_getpid);
	return arg;
}

/* Half of them are killed, the others end themselves while their threads go on. */
static void by_kill(unsigned int seed)
{
	srand(seed);
	for (int i = 0; i < FLOODS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			pthread_t thread;

			for (int t = 0; t < 3; t++)
				pthread_create(&thread, NULL, flood, NULL);
			if (i % 2)
				flood(NULL);
			usleep(rand() % 20000);
			exit(0);
		}
		usleep(rand() % 20000);
		if (i % 2)
			kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
}

static void in_child(const char *name, void (*way)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		way();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	printf("%s: %s %d\n", name, WIFSIGNALED(status) ? "signal" : "status",
	       WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	in_child("errno", by_errno);
	in_child("trap", by_trap);
	in_child("untraced", by_untraced);
	in_child("process kill", by_process_kill);
	in_child("thread kill", by_thread_kill);
	in_child("strict mode", by_strict_mode);
	in_child("user dispatch", by_user_dispatch);
	in_child("bad selector", by_bad_selector);
	in_child("tracer", by_tracer);
	in_child("tracer and filter", by_tracer_and_filter);
	in_child("vsyscall", by_vsyscall);
	by_kill(argc > 1 ? atoi(argv[1]) : 1);
	return 0;
}
