// SPDX-License-Identifier: MIT
/* Every request that changes names, socket nodes included. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "uring.h"

static int create(struct uring *u, const char *name)
{
	struct io_uring_sqe *sqe = uring_put(u, IORING_OP_OPENAT, AT_FDCWD, name, 0640, 0);
	int res;

	sqe->open_flags = O_CREAT | O_EXCL | O_RDWR;
	uring_collect(u, &res);
	must(res >= 0);
	return res;
}

static int create2(struct uring *u, const char *name)
{
	struct open_how how = { .flags = O_CREAT | O_EXCL | O_WRONLY, .mode = 0620, .resolve = RESOLVE_BENEATH };
	int res;

	uring_put(u, IORING_OP_OPENAT2, AT_FDCWD, name, sizeof(how), (uintptr_t)&how);
	uring_collect(u, &res);
	must(res >= 0);
	return res;
}

static void request2(struct uring *u, int op, const char *from, const char *to, unsigned int flags)
{
	struct io_uring_sqe *sqe = uring_put(u, op, AT_FDCWD, from, AT_FDCWD, (uintptr_t)to);

	sqe->rename_flags = flags;
	uring_run(u);
}

static void bind_socket(struct uring *u)
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "socket" };
	int fd = need(socket(AF_UNIX, SOCK_STREAM, 0));

	uring_put(u, OP_BIND, fd, &name, 0, sizeof(name));
	uring_run(u);
	need(close(fd));
}

WAY("uring-names")
{
	struct uring u;
	int fd;

	uring_open(&u, 8, 0);
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "d", 0750, 0);
	uring_run(&u);
	fd = create(&u, "d/a");
	uring_put(&u, IORING_OP_WRITE, fd, "content", 7, 0);
	uring_run(&u);
	uring_put(&u, IORING_OP_CLOSE, fd, NULL, 0, 0);
	uring_run(&u);
	need(close(create(&u, "b")));
	need(close(create2(&u, "d/beneath")));
	/* Its target stands in addr2, where the others have the new name. */
	uring_put(&u, IORING_OP_SYMLINKAT, AT_FDCWD, "../b", 0, (uintptr_t)"d/link");
	uring_run(&u);
	request2(&u, IORING_OP_LINKAT, "d/a", "hard", 0);
	request2(&u, IORING_OP_RENAMEAT, "d/a", "d/moved", 0);
	request2(&u, IORING_OP_RENAMEAT, "d/moved", "b", RENAME_EXCHANGE);
	request2(&u, IORING_OP_RENAMEAT, "b", "e", RENAME_NOREPLACE);
	uring_put(&u, IORING_OP_UNLINKAT, AT_FDCWD, "e", 0, 0);
	uring_run(&u);
	uring_put(&u, IORING_OP_MKDIRAT, AT_FDCWD, "gone", 0700, 0);
	uring_run(&u);
	uring_put(&u, IORING_OP_UNLINKAT, AT_FDCWD, "gone", 0, 0)->unlink_flags = AT_REMOVEDIR;
	uring_run(&u);
	bind_socket(&u);
}
