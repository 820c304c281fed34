// SPDX-License-Identifier: MIT
// Calls whose arguments lead somewhere: messages, vectors, sets, addresses,
// commands, times. What they return does not matter; that strace and the record
// tell the same of them does.
// Usage: strace-calls DIRECTORY
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/aio_abi.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/ipc.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/sem.h>
#include <sys/sendfile.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/times.h>
#include <sys/timex.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utime.h>

static void must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
}

/* With an address, bytes in two parts, and a descriptor as control */
static void send_message(int fd, const char *one, const char *two, int passed,
			 struct sockaddr_un *to, socklen_t len)
{
	struct iovec iov[2] = {
		{ (void *)(uintptr_t)one, strlen(one) },
		{ (void *)(uintptr_t)two, strlen(two) },
	};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {
		.msg_name = to,
		.msg_namelen = len,
		.msg_iov = iov,
		.msg_iovlen = 2,
	};

	if (passed >= 0) {
		memset(&control, 0, sizeof(control));
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.align), &passed, sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	must(sendmsg(fd, &msg, 0), "sendmsg");
}

static void receive_message(int fd)
{
	struct sockaddr_un from;
	char one[4], two[60];
	char control[64];
	struct iovec iov[2] = { { one, sizeof(one) }, { two, sizeof(two) } };
	struct msghdr msg = {
		.msg_name = &from,
		.msg_namelen = sizeof(from),
		.msg_iov = iov,
		.msg_iovlen = 2,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};

	must(recvmsg(fd, &msg, 0), "recvmsg");
}

static void several_messages(int from, int to)
{
	char text[3][8] = { "first", "second", "third" };
	char room[3][16];
	struct iovec out[3], in[3];
	struct mmsghdr sent[3], received[3];
	struct timespec wait = { 1, 0 };

	memset(sent, 0, sizeof(sent));
	memset(received, 0, sizeof(received));
	for (int i = 0; i < 3; i++) {
		out[i] = (struct iovec){ text[i], strlen(text[i]) };
		in[i] = (struct iovec){ room[i], sizeof(room[i]) };
		sent[i].msg_hdr.msg_iov = &out[i];
		sent[i].msg_hdr.msg_iovlen = 1;
		received[i].msg_hdr.msg_iov = &in[i];
		received[i].msg_hdr.msg_iovlen = 1;
	}
	must(sendmmsg(from, sent, 3, 0), "sendmmsg");
	must(recvmmsg(to, received, 3, MSG_WAITFORONE, &wait), "recvmmsg");
}

static void local_sockets(void)
{
	struct sockaddr_un here = { .sun_family = AF_UNIX };
	struct sockaddr_un peer;
	socklen_t len = sizeof(peer);
	int one = 1, pair[2], s, t;

	must(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), "socketpair");
	send_message(pair[0], "mess", "age in two parts", 1, NULL, 0);
	receive_message(pair[1]);
	several_messages(pair[0], pair[1]);
	close(pair[0]);
	close(pair[1]);

	strcpy(here.sun_path, "socket");
	s = socket(AF_UNIX, SOCK_DGRAM, 0);
	must(bind(s, (struct sockaddr *)&here, sizeof(here)), "bind");
	must(getsockname(s, (struct sockaddr *)&peer, &len), "getsockname");
	t = socket(AF_UNIX, SOCK_DGRAM, 0);
	send_message(t, "to ", "a path", -1, &here, sizeof(here));
	receive_message(s);
	must(connect(t, (struct sockaddr *)&here, sizeof(here)), "connect");
	must(send(t, "connected", 9, 0), "send");
	len = sizeof(peer);
	must(recvfrom(s, &(char[32]){ 0 }, 32, 0, (struct sockaddr *)&peer, &len),
	     "recvfrom");
	must(setsockopt(s, SOL_SOCKET, SO_PASSCRED, &one, sizeof(one)),
	     "setsockopt");
	len = sizeof(one);
	must(getsockopt(s, SOL_SOCKET, SO_TYPE, &one, &len), "getsockopt");
	close(s);
	close(t);
}

static void internet_sockets(int family)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a;
	socklen_t len;
	char byte;
	int s, c, t;

	memset(&a, 0, sizeof(a));
	a.any.sa_family = family;
	if (family == AF_INET)
		a.v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.v6.sin6_addr = in6addr_loopback;
	len = family == AF_INET ? sizeof(a.v4) : sizeof(a.v6);
	s = socket(family, SOCK_STREAM, 0);
	if (s < 0 || bind(s, &a.any, len) < 0)
		return;	/* a guest without this network */
	must(listen(s, 1), "listen");
	must(getsockname(s, &a.any, &len), "getsockname");
	t = socket(family, SOCK_STREAM, 0);
	must(connect(t, &a.any, len), "connect");
	c = accept(s, &a.any, &len);
	must(c, "accept");
	must(getpeername(c, &a.any, &len), "getpeername");
	must(write(t, "x", 1), "write");
	must(recv(c, &byte, 1, 0), "recv");
	must(shutdown(t, SHUT_RDWR), "shutdown");
	close(s);
	close(t);
	close(c);
}

static void waiting(void)
{
	struct pollfd polled[2] = { { .events = POLLIN }, { .events = POLLOUT } };
	struct epoll_event event = { .events = EPOLLIN, .data.u64 = 77 };
	struct epoll_event ready[4];
	struct timespec wait = { 0, 1000000 };
	struct timeval brief = { 0, 1000 };
	sigset_t none;
	fd_set in, out;
	int ends[2], epoll;

	sigemptyset(&none);
	must(pipe(ends), "pipe");
	must(write(ends[1], "y", 1), "write");
	polled[0].fd = ends[0];
	polled[1].fd = ends[1];
	must(syscall(SYS_poll, polled, 2, 100), "poll");
	must(ppoll(polled, 1, &wait, &none), "ppoll");
	FD_ZERO(&in);
	FD_ZERO(&out);
	FD_SET(ends[0], &in);
	FD_SET(ends[1], &out);
	must(syscall(SYS_select, ends[1] + 1, &in, &out, NULL, &brief), "select");
	must(pselect(ends[1] + 1, &in, &out, NULL, &wait, &none), "pselect");
	epoll = epoll_create1(0);
	must(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), "epoll_ctl");
	must(syscall(SYS_epoll_wait, epoll, ready, 4, 100), "epoll_wait");
	must(epoll_pwait(epoll, ready, 4, 100, &none), "epoll_pwait");
	must(epoll_ctl(epoll, EPOLL_CTL_DEL, ends[0], NULL), "epoll_ctl");
	close(epoll);
	close(ends[0]);
	close(ends[1]);
}

static void files(void)
{
	struct iovec out[3] = { { "one ", 4 }, { "two ", 4 }, { "three", 5 } };
	char a[6], b[20], path[256];
	struct iovec in[2] = { { a, sizeof(a) }, { b, sizeof(b) } };
	struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 8 };
	struct open_how how = { .flags = O_RDWR | O_CREAT, .mode = 0600 };
	struct f_owner_ex owner = { F_OWNER_PID, getpid() };
	struct timespec times[2] = { { 1000, 1 }, { 2000, 2 } };
	struct timeval old_times[2] = { { 3000, 3 }, { 4000, 4 } };
	struct statx extended;
	struct statfs fs;
	struct stat st;
	loff_t from = 0, to = 2;
	off_t offset = 1;
	int f, g, ends[2], flags;

	f = syscall(SYS_openat2, AT_FDCWD, "file", &how, sizeof(how));
	must(f, "openat2");
	must(writev(f, out, 3), "writev");
	must(pwritev(f, out, 2, 20), "pwritev");
	must(preadv(f, in, 2, 0), "preadv");
	must(lseek(f, 0, SEEK_SET), "lseek");
	must(readv(f, in, 2), "readv");
	must(fcntl(f, F_SETLK, &lock), "F_SETLK");
	must(fcntl(f, F_GETLK, &lock), "F_GETLK");
	must(fcntl(f, F_OFD_GETLK, &(struct flock){ .l_type = F_RDLCK }), "F_OFD_GETLK");
	must(fcntl(f, F_SETOWN_EX, &owner), "F_SETOWN_EX");
	must(fcntl(f, F_GETOWN_EX, &owner), "F_GETOWN_EX");
	must(fstat(f, &st), "fstat");
	must(statx(AT_FDCWD, "file", 0, STATX_BASIC_STATS, &extended), "statx");
	must(statfs(".", &fs), "statfs");
	must(fstatfs(f, &fs), "fstatfs");
	must(ioctl(f, FS_IOC_GETFLAGS, &flags), "FS_IOC_GETFLAGS");
	flags |= FS_NODUMP_FL;
	must(ioctl(f, FS_IOC_SETFLAGS, &flags), "FS_IOC_SETFLAGS");
	must(ioctl(f, FIONREAD, &flags), "FIONREAD");
	must(ioctl(f, FIGETBSZ, &flags), "FIGETBSZ");
	must(utimensat(AT_FDCWD, "file", times, 0), "utimensat");
	must(syscall(SYS_utimes, "file", old_times), "utimes");
	must(syscall(SYS_utime, "file", &(struct utimbuf){ 5, 6 }), "utime");
	must(setxattr("file", "user.colour", "blue and green", 14, 0), "setxattr");
	must(getxattr("file", "user.colour", b, sizeof(b)), "getxattr");
	must(getxattr("file", "user.colour", NULL, 0), "getxattr");
	must(listxattr("file", b, sizeof(b)), "listxattr");
	must(fremovexattr(f, "user.colour"), "fremovexattr");
	g = open("copy", O_RDWR | O_CREAT | O_TRUNC, 0644);
	must(copy_file_range(f, &from, g, &to, 8, 0), "copy_file_range");
	must(sendfile(g, f, &offset, 6), "sendfile");
	must(pipe2(ends, O_CLOEXEC), "pipe2");
	from = 0;
	must(splice(f, &from, ends[1], NULL, 8, 0), "splice");
	must(vmsplice(ends[1], out, 2, 0), "vmsplice");
	must(splice(ends[0], NULL, g, &to, 8, 0), "splice");
	must(symlink("file", "link"), "symlink");
	must(readlink("link", b, sizeof(b)), "readlink");
	must(getcwd(path, sizeof(path)) ? 0 : -1, "getcwd");
	close(ends[0]);
	close(ends[1]);
	close(f);
	close(g);
}

static void terminals(void)
{
	struct winsize size = { 25, 81, 2, 3 };
	struct termios modes;
	int master, unlock = 0, number, count;

	master = open("/dev/ptmx", O_RDWR | O_NOCTTY);
	if (master < 0)
		return;
	must(ioctl(master, TIOCSPTLCK, &unlock), "TIOCSPTLCK");
	must(ioctl(master, TIOCGPTN, &number), "TIOCGPTN");
	must(ioctl(master, TCGETS, &modes), "TCGETS");
	must(ioctl(master, TCSETS, &modes), "TCSETS");
	must(ioctl(master, TIOCSWINSZ, &size), "TIOCSWINSZ");
	must(ioctl(master, TIOCGWINSZ, &size), "TIOCGWINSZ");
	must(ioctl(master, FIONREAD, &count), "FIONREAD");
	ioctl(master, TIOCSTI, "t");
	ioctl(master, TIOCGPGRP, &number);
	close(master);
}

static void on_alarm(int signal)
{
	(void)signal;
}

static void times_and_signals(void)
{
	struct itimerval soon = { .it_value = { 0, 20000 } };
	struct itimerspec later = { .it_value = { 5, 6 } };
	struct sigaction action = { .sa_handler = on_alarm };
	struct timespec wait = { 2, 0 }, left, now;
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	struct timex adjust = { .modes = 0 };
	struct timeval tv;
	struct rusage usage;
	siginfo_t info;
	sigset_t set, old;
	timer_t timer;
	int status, fd;
	pid_t child;

	sigaction(SIGALRM, &action, NULL);
	must(setitimer(ITIMER_REAL, &soon, NULL), "setitimer");
	nanosleep(&wait, &left);	/* interrupted: the rest is written */
	must(setitimer(ITIMER_REAL, &soon, NULL), "setitimer");
	clock_nanosleep(CLOCK_MONOTONIC, 0, &wait, &left);
	must(getitimer(ITIMER_REAL, &soon), "getitimer");
	must(syscall(SYS_clock_gettime, CLOCK_REALTIME, &now), "clock_gettime");
	must(syscall(SYS_gettimeofday, &tv, NULL), "gettimeofday");
	must(clock_getres(CLOCK_MONOTONIC, &now), "clock_getres");
	must(adjtimex(&adjust), "adjtimex");
	must(timer_create(CLOCK_MONOTONIC, &event, &timer), "timer_create");
	must(timer_settime(timer, 0, &later, NULL), "timer_settime");
	must(timer_gettime(timer, &later), "timer_gettime");
	must(timer_delete(timer), "timer_delete");
	fd = timerfd_create(CLOCK_MONOTONIC, 0);
	must(timerfd_settime(fd, 0, &later, &later), "timerfd_settime");
	must(timerfd_gettime(fd, &later), "timerfd_gettime");
	close(fd);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	must(sigprocmask(SIG_BLOCK, &set, &old), "sigprocmask");
	fd = signalfd(-1, &set, SFD_NONBLOCK);
	must(raise(SIGUSR1), "raise");
	must(sigpending(&old), "sigpending");
	must(sigtimedwait(&set, &info, &wait), "sigtimedwait");
	close(fd);
	child = fork();
	if (child == 0)
		_exit(7);
	must(waitpid(child, &status, 0), "waitpid");
	child = fork();
	if (child == 0) {
		raise(SIGKILL);
		_exit(1);
	}
	must(waitid(P_PID, child, &info, WEXITED | WNOWAIT), "waitid");
	must(wait4(child, &status, 0, &usage), "wait4");
	wait4(-1, &status, WNOHANG, NULL);	/* no child: ECHILD */
}

static void about_the_system(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct data[2];
	struct sched_param param = { 0 };
	struct rlimit limit;
	struct utsname names;
	struct sysinfo info;
	struct rusage usage;
	struct tms ticks;
	unsigned int cpu;
	uid_t r, e, s;
	gid_t groups[8] = { 4, 5 };
	cpu_set_t cpus;
	char name[16], bytes[16];
	int reaper;

	must(uname(&names), "uname");
	must(sysinfo(&info), "sysinfo");
	must(getrusage(RUSAGE_SELF, &usage), "getrusage");
	times(&ticks);
	must(syscall(SYS_getrlimit, RLIMIT_NOFILE, &limit), "getrlimit");
	must(syscall(SYS_setrlimit, RLIMIT_NOFILE, &limit), "setrlimit");
	must(prlimit(0, RLIMIT_CORE, &limit, &limit), "prlimit");
	must(getresuid(&r, &e, &s), "getresuid");
	must(getresgid(&r, &e, &s), "getresgid");
	setgroups(2, groups);
	must(getgroups(8, groups), "getgroups");
	must(syscall(SYS_capget, &header, data), "capget");
	must(syscall(SYS_capset, &header, data), "capset");
	must(sched_getaffinity(0, sizeof(cpus), &cpus), "sched_getaffinity");
	must(sched_setaffinity(0, sizeof(cpus), &cpus), "sched_setaffinity");
	must(sched_getparam(0, &param), "sched_getparam");
	must(sched_setscheduler(0, SCHED_OTHER, &param), "sched_setscheduler");
	must(syscall(SYS_getcpu, &cpu, NULL, NULL), "getcpu");
	must(prctl(PR_SET_NAME, "renamed"), "PR_SET_NAME");
	must(prctl(PR_GET_NAME, name), "PR_GET_NAME");
	must(prctl(PR_GET_CHILD_SUBREAPER, &reaper), "PR_GET_CHILD_SUBREAPER");
	must(getrandom(bytes, sizeof(bytes), 0), "getrandom");
}

static void between_processes(void)
{
	struct {
		long type;
		char text[16];
	} message = { 3, "queued" };
	struct sembuf up = { .sem_op = 1 };
	struct shmid_ds segment;
	int queue, set, shared;

	queue = msgget(IPC_PRIVATE, 0600);
	if (queue >= 0) {
		must(msgsnd(queue, &message, 7, 0), "msgsnd");
		must(msgrcv(queue, &message, sizeof(message.text), 0, 0), "msgrcv");
		must(msgctl(queue, IPC_RMID, NULL), "msgctl");
	}
	set = semget(IPC_PRIVATE, 1, 0600);
	if (set >= 0) {
		must(semop(set, &up, 1), "semop");
		must(semctl(set, 0, IPC_RMID), "semctl");
	}
	shared = shmget(IPC_PRIVATE, 4096, 0600);
	if (shared >= 0) {
		must(shmctl(shared, IPC_STAT, &segment), "shmctl");
		must(shmctl(shared, IPC_RMID, NULL), "shmctl");
	}
}

static void asynchronous(void)
{
	aio_context_t context = 0;
	struct iocb request, *list[1] = { &request };
	struct io_event events[2];
	char text[8] = "by aio";
	int f = open("aio", O_RDWR | O_CREAT, 0600);

	if (syscall(SYS_io_setup, 4, &context) < 0)
		return;
	memset(&request, 0, sizeof(request));
	request.aio_lio_opcode = IOCB_CMD_PWRITE;
	request.aio_fildes = f;
	request.aio_buf = (uintptr_t)text;
	request.aio_nbytes = sizeof(text);
	must(syscall(SYS_io_submit, context, 1, list), "io_submit");
	must(syscall(SYS_io_getevents, context, 1, 2, events, NULL), "io_getevents");
	must(syscall(SYS_io_destroy, context), "io_destroy");
	close(f);
}

static void failures(void)
{
	char *nowhere = (char *)8;

	syscall(SYS_openat, AT_FDCWD, nowhere, O_RDONLY);
	syscall(SYS_read, -1, nowhere, 10);
	syscall(SYS_write, 1, nowhere, 10);
	syscall(SYS_stat, "/does/not/exist", nowhere);
	syscall(SYS_connect, -1, nowhere, 16);
	syscall(SYS_ioctl, 0, 0x12345678, nowhere);
	syscall(SYS_execve, "/does/not/exist", NULL, NULL);
	syscall(450 + 500, 1, 2, 3, 4, 5, 6);
}

int main(int argc, char **argv)
{
	if (argc != 2 || chdir(argv[1]) < 0)
		return 2;
	local_sockets();
	internet_sockets(AF_INET);
	internet_sockets(AF_INET6);
	waiting();
	files();
	terminals();
	times_and_signals();
	about_the_system();
	between_processes();
	asynchronous();
	failures();
	return 0;
}
