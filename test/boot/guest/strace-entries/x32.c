// SPDX-License-Identifier: MIT
// Calls of x32 from a 64-bit program: its own numbers, whose memory is that of
// compat, and numbers that it shares; at last numbers that it does not have.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "entry.h"

static int first_of(const void *pair)
{
	return *(const int *)pair;
}

static int second_of(const void *pair)
{
	return ((const int *)pair)[1];
}

static void files(void)
{
	void *a = put(NULL, 64), *b = put(NULL, 64), *ends = put(NULL, 8);
	long f = CALL(SYS_open, STRING("by-x32"), O_RDWR | O_CREAT, 0600);
	void *st = put(NULL, sizeof(struct stat));

	if (f < 0)
		exit(50);
	CALL(SYS_write, f, watch(1, "in", STRING("written by x32"), 14), 14);
	CALL(516, f, WORDS(LOW(STRING("ab")), 2, LOW(STRING("cde")), 3), 2);		/* writev */
	CALL(SYS_lseek, f, 0, SEEK_SET);
	CALL(515, f, WORDS(LOW(a), 3, LOW(b), 8), 2);					/* readv */
	CALL(SYS_pwrite64, f, STRING("pwrite"), 6, 40);
	CALL(SYS_pread64, f, watch(1, "out", a, 16), 16, 2);
	CALL(535, f, WORDS(LOW(STRING("at ")), 3, LOW(STRING("60")), 2), 2, 60);	/* pwritev */
	CALL(534, f, WORDS(LOW(a), 3, LOW(b), 8), 2, 60);				/* preadv */
	CALL(547, f, WORDS(LOW(STRING("or 70")), 5), 1, 70, 0, 0);			/* pwritev2 */
	CALL(546, f, WORDS(LOW(b), 8), 1, 70, 0, 0);					/* preadv2 */
	CALL(SYS_fstat, f, watch(1, "out", st, sizeof(struct stat)));
	CALL(SYS_stat, STRING("by-x32"), st);
	CALL(SYS_newfstatat, AT_FDCWD, STRING("by-x32"), st, 0);
	CALL(SYS_statx, AT_FDCWD, STRING("by-x32"), 0, 0x7ff, put(NULL, 256));
	CALL(SYS_fcntl, f, F_SETLK, watch(2, "in", put(&(struct flock){ .l_type = F_WRLCK, .l_len = 8 }, 32), 32));
	CALL(SYS_fcntl, f, F_GETLK, put(&(struct flock){ .l_type = F_WRLCK, .l_len = 8 }, 32));
	CALL(SYS_pipe2, ends, 0);
	CALL(532, second_of(ends), WORDS(LOW(STRING("spliced")), 7), 1, 0);		/* vmsplice */
	CALL(SYS_sendfile, f, f, put(&(long){ 2 }, 8), 3);
	CALL(SYS_getdents64, CALL(SYS_open, STRING("."), O_RDONLY | O_DIRECTORY), put(NULL, 512), 512);
	CALL(SYS_access, STRING("/does/not/exist"), R_OK);
	CALL(SYS_read, 77, a, 8);							/* EBADF */
	CALL(SYS_read, f, 8, 8);							/* EFAULT */
	CALL(SYS_getcwd, b, 64);
	CALL(SYS_close, f);
}

static void sockets(void)
{
	void *pair = put(NULL, 8), *room = put(NULL, 64), *more = put(NULL, 64), *len = WORDS(110), *messages;

	CALL(SYS_socketpair, AF_UNIX, SOCK_DGRAM, 0, pair);
	CALL(518, first_of(pair), WORDS(0, 0, LOW(WORDS(LOW(STRING("in a message")), 12)), 1, 0, 0, 0), 0);
	CALL(519, second_of(pair), WORDS(0, 0, LOW(WORDS(LOW(room), 32)), 1, LOW(put(NULL, 64)), 64, 0), 0);
	CALL(SYS_sendto, first_of(pair), STRING("sent"), 4, 0, NULL, 0);
	CALL(517, second_of(pair), watch(1, "out", room, 4), 4, 0, put(NULL, 110), len);	/* recvfrom */
	messages = put(&(const uint32_t[16]){
		[2] = LOW(WORDS(LOW(STRING("one")), 3)), [3] = 1,
		[10] = LOW(WORDS(LOW(STRING("other")), 5)), [11] = 1,
	}, 64);
	CALL(538, first_of(pair), messages, 2, 0);					/* sendmmsg */
	messages = put(&(const uint32_t[16]){
		[2] = LOW(WORDS(LOW(room), 32)), [3] = 1,
		[10] = LOW(WORDS(LOW(more), 32)), [11] = 1,
	}, 64);
	/* the time has 64 bits */
	CALL(537, second_of(pair), messages, 2, MSG_WAITFORONE, watch(4, "io", put(&(long[2]){ 1, 0 }, 16), 16));
	CALL(541, first_of(pair), SOL_SOCKET, SO_PASSCRED, watch(3, "in", WORDS(1), 4), 4);
	CALL(542, first_of(pair), SOL_SOCKET, SO_TYPE, watch(3, "out", put(NULL, 4), 4), WORDS(4));
	CALL(SYS_getsockname, first_of(pair), put(NULL, 110), WORDS(110));
	CALL(SYS_close, first_of(pair));
	CALL(SYS_close, second_of(pair));
}

static void waiting(void)
{
	void *ends = put(NULL, 8), *two = put(NULL, 8), *time = put(&(long[2]){ 0, 1000000 }, 16);
	long epoll;

	CALL(SYS_pipe2, ends, O_CLOEXEC);
	CALL(SYS_write, second_of(ends), STRING("z"), 1);
	CALL(SYS_poll, WORDS(first_of(ends), 1), 1, 100);
	CALL(SYS_ppoll, WORDS(first_of(ends), 1), 1, time, put(&(long){ 0 }, 8), 8);
	CALL(SYS_select, second_of(ends) + 1, put(&(long){ 1L << first_of(ends) }, 8), 0, 0, time);
	epoll = CALL(SYS_epoll_create1, 0);
	CALL(SYS_epoll_ctl, epoll, EPOLL_CTL_ADD, first_of(ends), put(&(struct epoll_event){ EPOLLIN, { .u64 = 77 } }, 12));
	CALL(SYS_epoll_wait, epoll, put(NULL, 48), 4, 100);
	CALL(SYS_nanosleep, put(&(long[2]){ 0, 1000 }, 16), 0);
	CALL(SYS_clock_gettime, 1, watch(1, "out", put(NULL, 16), 16));
	CALL(SYS_gettimeofday, put(NULL, 16), put(NULL, 8));
	CALL(SYS_pipe, two);
}

static void signals(void)
{
	void *set = put(&(long){ 1L << (SIGUSR1 - 1) }, 8), *old = put(NULL, 8), *info = put(NULL, 128);
	void *queued = put(NULL, 128), *stack = put(NULL, 12);
	int self = getpid();

	memset(queued, 0, 128);
	((int *)queued)[0] = SIGUSR1;
	((int *)queued)[2] = SI_QUEUE;
	((int *)queued)[3] = self;
	((int *)queued)[5] = 42;
	CALL(SYS_rt_sigprocmask, SIG_BLOCK, set, old, 8);
	CALL(512, SIGUSR2, 0, watch(2, "out", put(NULL, 20), 20), 8);			/* rt_sigaction */
	CALL(512, SIGUSR2, watch(1, "in", WORDS(1, 0, 0, 0, 0), 20), put(NULL, 20), 8);
	CALL(524, self, SIGUSR1, watch(2, "in", queued, 128));				/* rt_sigqueueinfo */
	CALL(522, watch(0, "out", put(NULL, 8), 8), 8);					/* rt_sigpending */
	CALL(523, set, info, watch(2, "in", put(&(long[2]){ 1, 0 }, 16), 16), 8);	/* rt_sigtimedwait */
	CALL(536, self, self, SIGUSR1, queued);						/* rt_tgsigqueueinfo */
	CALL(523, set, watch(1, "out", info, 128), 0, 8);
	CALL(525, watch(0, "in", WORDS(LOW(put(NULL, 8192)), 0, 8192), 12), watch(1, "out", stack, 12));
	CALL(525, WORDS(0, 2, 0), stack);						/* sigaltstack */
	/* nobody is told: SIGEV_NONE */
	CALL(526, 1, watch(1, "in", put(&(const uint32_t[16]){ 7, 0, 1 }, 64), 64), watch(2, "out", put(NULL, 4), 4));
	CALL(527, 77, watch(1, "in", put(&(const uint32_t[16]){ 7, 0, 1 }, 64), 64));	/* mq_notify: EBADF */
	CALL(SYS_tgkill, self, self, 0);
}

static void processes(void)
{
	void *status = put(NULL, 4), *info = put(NULL, 128), *usage = put(NULL, sizeof(struct rusage));
	long child = CALL(SYS_fork);

	if (child == 0)
		_exit(7);
	CALL(529, P_PID, child, info, WEXITED | WNOWAIT, watch(4, "out", usage, sizeof(struct rusage)));
	CALL(SYS_wait4, child, watch(1, "out", status, 4), 0, watch(3, "out", usage, sizeof(struct rusage)));
	CALL(SYS_wait4, -1, status, WNOHANG, 0);					/* ECHILD */
}

static void others(void)
{
	void *head = put(NULL, 12), *context = WORDS(0), *text = STRING("12345678"), *back = put(NULL, 8);
	struct iocb request = { .aio_lio_opcode = IOCB_CMD_PWRITE };
	int self = getpid();
	long pidfd;

	CALL(SYS_getpid);
	CALL(SYS_uname, put(NULL, sizeof(struct utsname)));
	CALL(SYS_getrlimit, RLIMIT_NOFILE, watch(1, "out", put(NULL, 16), 16));
	CALL(SYS_getrandom, watch(0, "out", put(NULL, 16), 16), 16, 0);
	CALL(SYS_prctl, 16, watch(1, "out", put(NULL, 16), 16));			/* PR_GET_NAME */
	memset(head, 0, 12);
	CALL(530, head, 12);								/* set_robust_list */
	CALL(531, 0, watch(1, "out", put(NULL, 4), 4), watch(2, "out", put(NULL, 4), 4));
	CALL(533, 0, 1, WORDS(LOW(head)), 0, WORDS(0), 0);				/* move_pages */
	CALL(539, self, WORDS(LOW(back), 8), 1, WORDS(LOW(text), 8), 1, 0);		/* process_vm_readv */
	CALL(540, self, WORDS(LOW(text), 8), 1, WORDS(LOW(back), 8), 1, 0);		/* process_vm_writev */
	pidfd = CALL(SYS_pidfd_open, self, 0);
	/* process_madvise: the vectors of compat, though the number is shared; MADV_COLD */
	CALL(440, pidfd, watch(1, "in", WORDS(LOW(text) & ~4095u, 4096), 8), 1, 20, 0);
	/* seccomp: a filter that allows all, its description likewise */
	CALL(SYS_seccomp, 1, 0, watch(2, "in", WORDS(1, LOW(WORDS(BPF_RET | BPF_K, SECCOMP_RET_ALLOW))), 8));
	if (CALL(543, 4, watch(1, "out", context, 4)) == 0) {				/* io_setup */
		request.aio_fildes = CALL(SYS_open, STRING("aio"), O_RDWR | O_CREAT, 0600);
		request.aio_buf = LOW(text);
		request.aio_nbytes = 8;
		CALL(544, first_of(context), 1, WORDS(LOW(put(&request, sizeof(request)))));	/* io_submit */
		CALL(SYS_io_getevents, first_of(context), 1, 2, put(NULL, 64), 0);
		CALL(SYS_io_destroy, first_of(context));
	}
	CALL(545, AT_FDCWD, STRING("/does/not/exist"), WORDS(LOW(STRING("none")), 0), WORDS(LOW(STRING("A=b")), 0), 0);
	CALL(520, STRING("/does/not/exist"), WORDS(LOW(STRING("none")), LOW(STRING("argument")), 0),
	     WORDS(LOW(STRING("A=b")), 0));
}

static void unknown(void)
{
	/* Of the 64-bit table alone, of nobody, and of neither table */
	static const int numbers[] = { SYS_ioctl, SYS_readv, SYS_execve, SYS_ptrace, 400, 548, 950 };

	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		if (CALL(numbers[i], 1, 2, 3, 4, 5, 6) != -ENOSYS)
			exit(51);
	}
	/* Those of x32 are nothing without the bit. */
	entry = ENTRY_64;
	if (CALL(515, 1, 2, 3, 4, 5, 6) != -ENOSYS)
		exit(52);
	entry = ENTRY_X32;
}

void x32_calls(void)
{
	files();
	sockets();
	waiting();
	signals();
	processes();
	others();
	unknown();
}
