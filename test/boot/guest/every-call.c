// SPDX-License-Identifier: MIT
// Makes every system call there can be, of all three ABIs, with arguments that lead
// nowhere, across the end of a page, or into the kernel. Each is made by a child
// of its own, which is killed if it blocks. Prints how many it made.
// Usage: every-call
#define _GNU_SOURCE
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LAST 550	/* a few more than there are */
#define X32 0x40000000
#define PAGE 4096
#define ARGS 6

enum pattern { NOWHERE, PAGE_END, KERNEL, SMALL, PATTERNS };

static uint8_t *page;

static void fill(unsigned long *a, enum pattern pattern)
{
	for (unsigned long i = 0; i < ARGS; i++) {
		switch (pattern) {
		case NOWHERE:
			a[i] = 0x1001 + i;
			break;
		case PAGE_END:	/* eight bytes before it */
			a[i] = (unsigned long)(page + PAGE - 8);
			break;
		case KERNEL:
			a[i] = 0xffff8880c0000000ul + 4096 * i;
			break;
		case SMALL:	/* a command or count, then addresses of itself */
			a[i] = i % 2 ? (unsigned long)(page + PAGE - 64) : 9 + i;
			break;
		case PATTERNS:
			break;
		}
	}
}

static void call64(long nr, const unsigned long *a)
{
	register unsigned long r10 __asm__("r10") = a[3];
	register unsigned long r8 __asm__("r8") = a[4];
	register unsigned long r9 __asm__("r9") = a[5];

	__asm__ volatile("syscall"
			 : "+a"(nr)
			 : "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8),
			   "r"(r9)
			 : "rcx", "r11", "memory");
}

static void call32(long nr, const unsigned long *a)
{
	__asm__ volatile("push %%rbp\n\tmov %6, %%ebp\n\tint $0x80\n\tpop %%rbp"
			 : "+a"(nr)
			 : "b"((uint32_t)a[0]), "c"((uint32_t)a[1]),
			   "d"((uint32_t)a[2]), "S"((uint32_t)a[3]),
			   "D"((uint32_t)a[4]), "r"((uint32_t)a[5])
			 : "r8", "r9", "r10", "r11", "memory");
}

static void in_child(void (*call)(long, const unsigned long *), long nr,
		     enum pattern pattern)
{
	static const struct rlimit no_core = { 0, 0 };
	struct timespec wait = { 0, 100000000 };
	unsigned long a[ARGS];
	sigset_t child;
	pid_t pid;

	fill(a, pattern);
	pid = fork();
	if (pid == 0) {
		setsid();	/* whom kill() may reach */
		setrlimit(RLIMIT_CORE, &no_core);
		for (int fd = 0; fd < 3; fd++)
			close(fd);
		call(nr, a);
		_exit(0);
	}
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	while (waitpid(pid, NULL, WNOHANG) == 0) {
		if (sigtimedwait(&child, NULL, &wait) < 0)
			kill(pid, SIGKILL);
	}
}

int main(void)
{
	sigset_t child;
	int made = 0;

	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	page = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	if (page == MAP_FAILED || munmap(page + PAGE, PAGE) < 0)
		return 1;
	/* lengths and counts that are large, and addresses that are not there */
	memset(page, 0x7f, PAGE);
	for (long nr = 0; nr <= LAST; nr++) {
		for (int pattern = 0; pattern < PATTERNS; pattern++) {
			in_child(call64, nr, pattern);
			in_child(call64, nr | X32, pattern);
			in_child(call32, nr, pattern);
			made += 3;
		}
	}
	printf("made %d calls\n", made);
	return 0;
}
