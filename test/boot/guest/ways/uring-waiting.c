// SPDX-License-Identifier: MIT
/* Requests that wait for time, descriptors, children and memory, and those that end such a wait. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uring.h"

#define FUTEX2_U32 2	/* newer than Debian 12's <linux/futex.h> */
#define FOREVER { 86400, 7 }

static struct uring ring;
static int file;

static void note(const char *text)
{
	uring_put(&ring, IORING_OP_WRITE, file, text, 4, -1);
	uring_run(&ring);
}

WAY("uring-timeouts")
{
	struct __kernel_timespec soon = { 0, 2000001 }, late = FOREVER, later = { 90000, 8 };
	int pipe_ends[2], res[4];
	char byte;

	file = make_file("f", 0);
	uring_open(&ring, 8, 0);
	need(pipe(pipe_ends));
	uring_put(&ring, IORING_OP_TIMEOUT, -1, &soon, 1, 0);
	uring_collect(&ring, res);
	must(res[0] == -ETIME);
	note("time");
	/* It ends well when one other request has ended. */
	uring_put(&ring, IORING_OP_TIMEOUT, -1, &late, 1, 1);
	uring_put(&ring, IORING_OP_NOP, -1, NULL, 0, 0);
	uring_run(&ring);
	note("nop ");
	/* user_data is the number of the request: 0 */
	uring_put(&ring, IORING_OP_TIMEOUT, -1, &late, 1, 0);
	uring_put(&ring, IORING_OP_TIMEOUT_REMOVE, -1, NULL, 0, (uintptr_t)&later)->timeout_flags =
		IORING_TIMEOUT_UPDATE;
	uring_put(&ring, IORING_OP_TIMEOUT_REMOVE, -1, NULL, 0, 0);
	uring_collect(&ring, res);
	must(res[0] == -ECANCELED && res[1] == 0 && res[2] == 0);
	note("gone");
	uring_put(&ring, IORING_OP_READ, pipe_ends[0], &byte, 1, -1)->flags = IOSQE_IO_LINK;
	uring_put(&ring, IORING_OP_LINK_TIMEOUT, -1, &soon, 1, 0);
	uring_collect(&ring, res);
	must(res[0] == -ECANCELED && res[1] == -ETIME);
	note("link");
}

WAY("uring-descriptors")
{
	int bell = need(eventfd(0, 0)), queue = need(epoll_create1(0)), res[2];
	struct epoll_event event = { EPOLLIN, { .u64 = 0x6c656d6f6e61 } }, got;
	uint64_t rings = 1;

	file = make_file("f", 0);
	uring_open(&ring, 8, 0);
	uring_put(&ring, IORING_OP_POLL_ADD, bell, NULL, 0, 0)->poll32_events = POLLIN;
	uring_put(&ring, IORING_OP_POLL_REMOVE, -1, NULL, 0, 0);
	uring_collect(&ring, res);
	must(res[0] == -ECANCELED && res[1] == 0);
	note("poll");
	uring_put(&ring, IORING_OP_POLL_ADD, bell, NULL, 0, 0)->poll32_events = POLLIN;
	uring_put(&ring, IORING_OP_ASYNC_CANCEL, -1, NULL, 0, 0);
	uring_collect(&ring, res);
	must(res[0] == -ECANCELED && res[1] == 0);
	note("stop");
	uring_put(&ring, IORING_OP_EPOLL_CTL, queue, &event, EPOLL_CTL_ADD, bell);
	uring_run(&ring);
	must(write(bell, &rings, sizeof(rings)) == sizeof(rings));
	must(epoll_wait(queue, &got, 1, -1) == 1 && got.data.u64 == event.data.u64);
	note("bell");
}

static void end_at_once(void *arg)
{
	(void)arg;
}

static struct io_uring_sqe *futex(int op, uint32_t *word, uint64_t value)
{
	struct io_uring_sqe *sqe = uring_put(&ring, op, FUTEX2_U32 | FUTEX_PRIVATE_FLAG, word, 0, value);

	sqe->addr3 = FUTEX_BITSET_MATCH_ANY;
	return sqe;
}

WAY("uring-waits")
{
	static uint32_t word = 17, other = 18;
	struct futex_waitv words[] = {
		{ 17, (uintptr_t)&word, FUTEX2_U32 | FUTEX_PRIVATE_FLAG, 0 },
		{ 18, (uintptr_t)&other, FUTEX2_U32 | FUTEX_PRIVATE_FLAG, 0 },
	};
	siginfo_t info = {};
	int res[2];

	file = make_file("f", 0);
	uring_open(&ring, 8, 0);
	uring_put(&ring, OP_WAITID, spawn(end_at_once, NULL), NULL, P_PID, (uintptr_t)&info)->file_index = WEXITED;
	uring_run(&ring);
	must(info.si_code == CLD_EXITED && info.si_status == 0);
	note("died");
	futex(OP_FUTEX_WAIT, &word, 17);
	futex(OP_FUTEX_WAKE, &word, 1);
	uring_collect(&ring, res);
	must(res[0] == 0 && res[1] == 1);
	note("woke");
	uring_put(&ring, OP_FUTEX_WAITV, 0, words, 2, 0);
	futex(OP_FUTEX_WAKE, &other, 1);
	uring_collect(&ring, res);
	must(res[0] == 1 && res[1] == 1);
	note("both");
}

#define QUIET IOSQE_CQE_SKIP_SUCCESS

/* Requests whose good ends nobody is told of: at once, by a worker, later, and in a chain that broke. */
WAY("uring-quiet")
{
	struct __kernel_timespec soon = { 0, 2000001 };
	int bell = need(eventfd(0, 0)), pipe_ends[2];
	uint64_t rings = 1;
	struct uring_end end;
	char byte;

	file = make_file("f", 0);
	need(pipe(pipe_ends));
	uring_open(&ring, 16, 0);
	uring_put(&ring, IORING_OP_WRITE, file, "once", 4, 0)->flags = QUIET;
	uring_put(&ring, IORING_OP_WRITE, file, "work", 4, 4)->flags = QUIET | IOSQE_ASYNC;
	uring_put(&ring, IORING_OP_POLL_ADD, bell, NULL, 0, 0)->poll32_events = POLLIN;
	ring.sqes[(*ring.sq_tail + ring.queued - 1) & ring.sq_mask].flags = QUIET;
	uring_put(&ring, IORING_OP_READ, pipe_ends[0], &byte, 1, -1)->flags = QUIET;
	uring_put(&ring, IORING_OP_TIMEOUT, -1, &soon, 1, 0)->flags = QUIET;
	ring.sqes[(*ring.sq_tail + ring.queued - 1) & ring.sq_mask].timeout_flags = IORING_TIMEOUT_ETIME_SUCCESS;
	uring_submit(&ring);
	must(write(bell, &rings, sizeof(rings)) == sizeof(rings));
	must(write(pipe_ends[1], "x", 1) == 1);
	pause_us(100000);
	/* The first one fails: it is told of, and the others of its chain are ended in silence. */
	uring_put(&ring, IORING_OP_READ, -1, &byte, 1, 0)->flags = IOSQE_IO_LINK | QUIET;
	uring_put(&ring, IORING_OP_MKDIRAT, AT_FDCWD, "d", 0700, 0)->flags = IOSQE_IO_LINK;
	uring_put(&ring, IORING_OP_SYMLINKAT, AT_FDCWD, "to", 0, (uintptr_t)"link");
	uring_submit(&ring);
	end = uring_next(&ring);
	must(end.res == -EBADF);
	note("end ");
}

#define BURST 100000
#define ENTRIES 1000

/* One thread's requests, which all wait for the same and end together when it looks for them. */
WAY("uring-burst")
{
	int bell = need(eventfd(0, 0));
	uint64_t rings = 1;

	file = make_file("f", 0);
	uring_open(&ring, 1024, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
	for (int i = 0; i < BURST; i += ENTRIES) {
		for (int k = 0; k < ENTRIES; k++)
			uring_put(&ring, IORING_OP_POLL_ADD, bell, NULL, 0, 0)->poll32_events = POLLIN;
		uring_submit(&ring);
	}
	must(write(bell, &rings, sizeof(rings)) == sizeof(rings));
	must(uring_next(&ring).res == POLLIN);
	uring_close(&ring);
	uring_open(&ring, 8, 0);
	note("over");
}
