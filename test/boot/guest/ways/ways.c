// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "ways.h"

/* Of what goes on for a time, however slow the machine is */
#define ROUNDS_MIN	8

extern const struct way __start_ways[], __stop_ways[];

const char *way_arg;
static uint64_t state, end_ms;
static unsigned int rounds_left;

long needed(long result, const char *call, const char *file, int line)
{
	if (result == -1) {
		fprintf(stderr, "%s:%d: %s: %s\n", file, line, call, strerror(errno));
		exit(1);
	}
	return result;
}

_Noreturn void failed(const char *what, const char *file, int line)
{
	fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
	exit(1);
}

/* xorshift64; never 0 */
unsigned int below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

void reseed(unsigned int salt)
{
	state = (state ^ salt) * 0x9e3779b97f4a7c15u | 1;
	for (int i = 0; i < 8; i++)
		below(2);
}

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

bool going(void)
{
	if (rounds_left) {
		rounds_left--;
		return true;
	}
	return now_ms() < end_ms;
}

void pause_us(unsigned int us)
{
	struct timespec ts = { us / 1000000, us % 1000000 * 1000 };

	nanosleep(&ts, NULL);
}

void fill(void *to, size_t len)
{
	unsigned char *bytes = to;

	for (size_t i = 0; i < len; i++)
		bytes[i] = below(256);
}

int make_file(const char *name, size_t len)
{
	int fd = need(open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
	char buf[PAGE];

	for (size_t at = 0; at < len; at += sizeof(buf)) {
		size_t part = len - at < sizeof(buf) ? len - at : sizeof(buf);

		fill(buf, part);
		must(pwrite(fd, buf, part, at) == (ssize_t)part);
	}
	return fd;
}

char *map_file(int fd, size_t len)
{
	return (char *)need(mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0));
}

void store_while_going(char *map, size_t len)
{
	while (going()) {
		for (int i = 0; i < 200; i++)
			map[below(len)] = below(256);
		if (below(20) == 0)
			pause_us(below(2000));
	}
}

pid_t spawn(void (*fn)(void *), void *arg)
{
	static unsigned int salt;
	pid_t pid;

	salt++;
	fflush(NULL);
	pid = need(fork());
	if (pid == 0) {
		need(prctl(PR_SET_PDEATHSIG, SIGKILL));
		reseed(salt);
		fn(arg);
		_exit(0);
	}
	return pid;
}

void reap(pid_t pid, int signal)
{
	int status;

	need(waitpid(pid, &status, 0));
	if (signal)
		must(WIFSIGNALED(status) && WTERMSIG(status) == signal);
	else
		must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* On a guest with fewer CPUs: wherever it is. */
void pin_to_cpu(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % sysconf(_SC_NPROCESSORS_ONLN), &set);
	need(sched_setaffinity(0, sizeof(set), &set));
}

void write_text(const char *file, const char *text)
{
	int fd = need(open(file, O_WRONLY | O_CLOEXEC));

	must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	need(close(fd));
}

union fd_message {
	char buf[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

void send_fd(int socket, int fd)
{
	union fd_message control = { 0 };
	struct iovec iov = { "x", 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	struct cmsghdr *c = CMSG_FIRSTHDR(&msg);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	need(sendmsg(socket, &msg, 0));
}

int receive_fd(int socket)
{
	union fd_message control;
	char byte;
	struct iovec iov = { &byte, 1 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd;

	must(recvmsg(socket, &msg, 0) == 1 && CMSG_FIRSTHDR(&msg));
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/'), *name = slash ? slash + 1 : argv[0];

	if (argc < 3 || argc > 4) {
		fprintf(stderr, "usage: %s SEED MS [ARG]\n", name);
		return 2;
	}
	state = strtoul(argv[1], NULL, 10) * 2 + 1;
	reseed(0);
	end_ms = now_ms() + strtoul(argv[2], NULL, 10);
	rounds_left = strtoul(argv[2], NULL, 10) ? ROUNDS_MIN : 0;
	way_arg = argv[3];
	for (const struct way *way = __start_ways; way < __stop_ways; way++) {
		if (strcmp(way->name, name) == 0) {
			way->run();
			return 0;
		}
	}
	fprintf(stderr, "%s: no such way\n", name);
	return 2;
}
