// SPDX-License-Identifier: MIT
/* Requests in somebody else's name: what they make belongs to him. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uring.h"

WAY("uring-personality")
{
	struct io_uring_sqe *sqe;
	struct stat st;
	int id, res;
	struct uring u;

	need(chmod(".", 0777));
	uring_open(&u, 8, 0);
	need(setegid(1000));
	need(seteuid(1000));
	id = need(uring_register(&u, IORING_REGISTER_PERSONALITY, NULL, 0));
	need(seteuid(0));
	need(setegid(0));
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "his", 0755, 0)->personality = id;
	sqe = uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "his-by-a-worker", 0755, 0);
	sqe->personality = id;
	sqe->flags = IOSQE_ASYNC;
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "mine", 0755, 0);
	uring_run(&u);
	sqe = uring_put(&u, IORING_OP_OPENAT, AT_FDCWD, "his/file", 0644, 0);
	sqe->open_flags = O_CREAT | O_RDWR;
	sqe->personality = id;
	uring_collect(&u, &res);
	must(res >= 0);
	uring_put(&u, IORING_OP_WRITE, res, "his", 3, 0)->personality = id;
	uring_run(&u);
	need(stat("his/file", &st));
	must(st.st_uid == 1000 && st.st_gid == 1000);
	need(stat("his-by-a-worker", &st));
	must(st.st_uid == 1000);
	need(stat("mine", &st));
	must(st.st_uid == 0);
}
