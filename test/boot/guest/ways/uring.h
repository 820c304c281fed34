/* SPDX-License-Identifier: MIT */
/* io_uring by its system calls alone. */
#ifndef WAYS_URING_H
#define WAYS_URING_H

#include <linux/io_uring.h>
#include <linux/time_types.h>

#include "ways.h"

/* Newer than Debian 12's <linux/io_uring.h>, older than 6.12 */
#define OP_READ_MULTISHOT 49
#define OP_WAITID 50
#define OP_FUTEX_WAIT 51
#define OP_FUTEX_WAKE 52
#define OP_FUTEX_WAITV 53
#define OP_FIXED_FD_INSTALL 54
#define OP_FTRUNCATE 55
#define OP_BIND 56
#define OP_LISTEN 57

struct uring {
	int fd;
	unsigned int flags;	/* of the set-up */
	unsigned int *sq_head, *sq_tail, *sq_flags, *cq_head, *cq_tail;
	unsigned int sq_mask, cq_mask, queued;
	struct io_uring_sqe *sqes;
	struct io_uring_cqe *cqes;
};

struct uring_end {
	uint64_t user_data;
	int res;
	unsigned int flags;	/* IORING_CQE_F_* */
};

void uring_open(struct uring *u, unsigned int entries, unsigned int flags);
void uring_close(struct uring *u);
int uring_register(struct uring *u, unsigned int opcode, const void *arg, unsigned int count);
/* The next request, which uring_run() submits; user_data is its number since the last run, from 0. */
struct io_uring_sqe *uring_put(struct uring *u, int op, int fd, const void *addr, unsigned int len,
			       uint64_t off);
/* Submits all requests, and does not wait. */
void uring_submit(struct uring *u);
/* The next end of a request, waited for; of some requests there are several. */
struct uring_end uring_next(struct uring *u);
/* Submits all requests and waits for their ends, one of each; results go to res[user_data]. */
void uring_collect(struct uring *u, int *res);
/* The same, and each result must be at least 0. */
void uring_run(struct uring *u);

#endif
