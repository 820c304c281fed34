// SPDX-License-Identifier: MIT
/*
 * System calls from 32-bit code: 100 each by `int $0x80`, through the vDSO
 * (`syscall` or `sysenter`, as the processor has it), and by `sysenter` itself;
 * and 10 whose sixth argument, on the stack, can't be read: the kernel refuses
 * those before anything else, and the process dies. Needs no library and no
 * headers, so that any 64-bit compiler makes it.
 */
#define TIMES 100
#define UNREADABLE 10

#define NR_EXIT 1
#define NR_FORK 2
#define NR_WAITPID 7
#define NR_GETPID 20

#define AT_NULL 0
#define AT_SYSINFO 32

static int int80(int nr, int b, int c, int d)
{
	__asm__ volatile("int $0x80" : "+a"(nr) : "b"(b), "c"(c), "d"(d) : "memory");
	return nr;
}

static int through_vdso(void *entry, int nr)
{
	__asm__ volatile("call *%1" : "+a"(nr) : "S"(entry) : "ecx", "edx", "memory");
	return nr;
}

/* The kernel returns to the vDSO, which pops what its own entry pushes, and then returns. */
static int by_sysenter(int nr)
{
	__asm__ volatile("call 1f\n"
			 "jmp 2f\n"
			 "1: push %%ecx\n"
			 "push %%edx\n"
			 "push %%ebp\n"
			 "mov %%esp, %%ebp\n"
			 "sysenter\n"
			 "2:"
			 : "+a"(nr)
			 :
			 : "ecx", "edx", "memory");
	return nr;
}

static void with_unreadable_stack(void)
{
	__asm__ volatile("mov $4, %%ebp\n"
			 "sysenter"
			 :
			 : "a"(NR_GETPID)
			 : "memory");
}

/* At process start: argc, argv, 0, environment, 0, pairs. */
static void *find_sysinfo(int *stack)
{
	int *at = stack + 1 + stack[0] + 1;

	while (*at)
		at++;
	for (at++; at[0] != AT_NULL; at += 2) {
		if (at[0] == AT_SYSINFO)
			return (void *)at[1];
	}
	return 0;
}

__attribute__((used)) static void run(int *stack)
{
	void *entry = find_sysinfo(stack);
	int self = int80(NR_GETPID, 0, 0, 0);
	int wrong = 0;

	for (int i = 1; i < TIMES; i++)
		wrong += int80(NR_GETPID, 0, 0, 0) != self;
	for (int i = 0; i < TIMES; i++)
		wrong += entry ? through_vdso(entry, NR_GETPID) != self : 1;
	for (int i = 0; i < TIMES; i++)
		wrong += by_sysenter(NR_GETPID) != self;
	for (int i = 0; i < UNREADABLE; i++) {
		int pid = int80(NR_FORK, 0, 0, 0);

		if (pid == 0) {
			with_unreadable_stack();
			int80(NR_EXIT, 0, 0, 0);
		}
		int80(NR_WAITPID, pid, 0, 0);
	}
	int80(NR_EXIT, wrong != 0, 0, 0);
}

__asm__(".globl _start\n"
	"_start: mov %esp, %eax\n"
	"push %eax\n"
	"call run\n");
