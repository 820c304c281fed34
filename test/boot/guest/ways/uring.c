// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uring.h"

#define REQUESTS_MAX 256

void uring_open(struct uring *u, unsigned int entries, unsigned int flags)
{
	struct io_uring_params p = { .flags = flags, .sq_thread_idle = 50 };
	char *sq, *cq;
	unsigned int *array;

	memset(u, 0, sizeof(*u));
	u->fd = need(syscall(SYS_io_uring_setup, entries, &p));
	u->flags = flags;
	sq = (char *)need(mmap(NULL, p.sq_off.array + p.sq_entries * sizeof(unsigned int),
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQ_RING));
	cq = (char *)need(mmap(NULL, p.cq_off.cqes + p.cq_entries * sizeof(struct io_uring_cqe),
			       PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_CQ_RING));
	u->sqes = (void *)need(mmap(NULL, p.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
				    MAP_SHARED | MAP_POPULATE, u->fd, IORING_OFF_SQES));
	u->sq_head = (void *)(sq + p.sq_off.head);
	u->sq_tail = (void *)(sq + p.sq_off.tail);
	u->sq_flags = (void *)(sq + p.sq_off.flags);
	u->sq_mask = *(unsigned int *)(sq + p.sq_off.ring_mask);
	u->cq_head = (void *)(cq + p.cq_off.head);
	u->cq_tail = (void *)(cq + p.cq_off.tail);
	u->cq_mask = *(unsigned int *)(cq + p.cq_off.ring_mask);
	u->cqes = (void *)(cq + p.cq_off.cqes);
	array = (void *)(sq + p.sq_off.array);
	for (unsigned int i = 0; i < p.sq_entries; i++)
		array[i] = i;
}

void uring_close(struct uring *u)
{
	need(close(u->fd));
}

int uring_register(struct uring *u, unsigned int opcode, const void *arg, unsigned int count)
{
	return syscall(SYS_io_uring_register, u->fd, opcode, arg, count);
}

struct io_uring_sqe *uring_put(struct uring *u, int op, int fd, const void *addr, unsigned int len,
			       uint64_t off)
{
	unsigned int tail = *u->sq_tail + u->queued;
	struct io_uring_sqe *sqe = &u->sqes[tail & u->sq_mask];

	must(tail - __atomic_load_n(u->sq_head, __ATOMIC_ACQUIRE) <= u->sq_mask);
	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = (uintptr_t)addr;
	sqe->len = len;
	sqe->off = off;
	sqe->user_data = u->queued++;
	return sqe;
}

static unsigned int enter_flags(const struct uring *u)
{
	if (!(u->flags & IORING_SETUP_SQPOLL))
		return IORING_ENTER_GETEVENTS;
	/* The kernel's thread takes the requests, and wants to be woken if it sleeps. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return IORING_ENTER_GETEVENTS |
	       (__atomic_load_n(u->sq_flags, __ATOMIC_RELAXED) & IORING_SQ_NEED_WAKEUP ?
			IORING_ENTER_SQ_WAKEUP : 0);
}

/* Submits all requests, and waits for so many ends. */
static void enter(struct uring *u, unsigned int wanted)
{
	unsigned int submit = u->queued;

	__atomic_store_n(u->sq_tail, *u->sq_tail + u->queued, __ATOMIC_RELEASE);
	u->queued = 0;
	do {
		int n = syscall(SYS_io_uring_enter, u->fd, submit, wanted, enter_flags(u), NULL, 0);

		must(n >= 0 || errno == EINTR || errno == EAGAIN);
		if (n > 0)
			submit -= n;
	} while (submit && !(u->flags & IORING_SETUP_SQPOLL));
}

void uring_submit(struct uring *u)
{
	enter(u, 0);
}

struct uring_end uring_next(struct uring *u)
{
	unsigned int head = *u->cq_head;
	const struct io_uring_cqe *cqe;
	struct uring_end end;

	while (head == __atomic_load_n(u->cq_tail, __ATOMIC_ACQUIRE))
		enter(u, 1);
	cqe = &u->cqes[head & u->cq_mask];
	end = (struct uring_end){ cqe->user_data, cqe->res, cqe->flags };
	__atomic_store_n(u->cq_head, head + 1, __ATOMIC_RELEASE);
	return end;
}

void uring_collect(struct uring *u, int *res)
{
	unsigned int wanted = u->queued;

	enter(u, 1);
	while (wanted--) {
		struct uring_end end = uring_next(u);

		res[end.user_data] = end.res;
	}
}

void uring_run(struct uring *u)
{
	unsigned int count = u->queued;
	int res[REQUESTS_MAX];

	must(count <= REQUESTS_MAX);
	uring_collect(u, res);
	for (unsigned int i = 0; i < count; i++) {
		if (res[i] < 0)
			fprintf(stderr, "request %u: %s\n", i, strerror(-res[i]));
		must(res[i] >= 0);
	}
}
