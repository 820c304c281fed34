// SPDX-License-Identifier: MIT
/* A connection from the socket to its end by requests alone; what it brings is written to a file. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "uring.h"

static struct uring ring;

static int new_socket(int domain, int type)
{
	int res;

	uring_put(&ring, IORING_OP_SOCKET, domain, NULL, 0, type);
	uring_collect(&ring, &res);
	must(res >= 0);
	return res;
}

/* A message of two pieces, with a descriptor if FD is one, through a plain request or one that does not copy. */
static void send_message(int op, int socket, const struct sockaddr_in *address, int fd)
{
	static char one[] = "a message ", two[] = "in two pieces";
	struct iovec iov[] = { { one, strlen(one) }, { two, strlen(two) } };
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {};
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = 2, .msg_name = (void *)address,
			      .msg_namelen = address ? sizeof(*address) : 0 };
	struct uring_end end;

	if (fd >= 0) {
		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ CMSG_LEN(sizeof(int)), SOL_SOCKET, SCM_RIGHTS };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(fd));
	}
	uring_put(&ring, op, socket, &msg, 1, 0);
	uring_submit(&ring);
	end = uring_next(&ring);
	must(end.res == (int)(strlen(one) + strlen(two)));
	/* The second end: the bytes are no longer in use. */
	if (end.flags & IORING_CQE_F_MORE)
		must(uring_next(&ring).flags & IORING_CQE_F_NOTIF);
}

static void receive(int socket, int to)
{
	static char got[100];
	int res;

	uring_put(&ring, IORING_OP_RECV, socket, got, sizeof(got), 0);
	uring_collect(&ring, &res);
	must(res > 0);
	uring_put(&ring, IORING_OP_WRITE, to, got, res, -1);
	uring_run(&ring);
}

WAY("uring-connection")
{
	struct sockaddr_un name = { .sun_family = AF_UNIX, .sun_path = "listener" };
	unsigned int len = offsetof(struct sockaddr_un, sun_path) + strlen(name.sun_path) + 1;
	int to = make_file("received", 0), res[2], listener, here;
	char end;

	uring_open(&ring, 8, 0);
	listener = new_socket(AF_UNIX, SOCK_STREAM);
	uring_put(&ring, OP_BIND, listener, &name, 0, len);
	uring_run(&ring);
	uring_put(&ring, OP_LISTEN, listener, NULL, 5, 0);
	uring_run(&ring);
	here = new_socket(AF_UNIX, SOCK_STREAM);
	uring_put(&ring, IORING_OP_ACCEPT, listener, NULL, 0, 0);
	uring_put(&ring, IORING_OP_CONNECT, here, &name, 0, len);
	uring_collect(&ring, res);
	must(res[0] >= 0 && res[1] == 0);
	uring_put(&ring, IORING_OP_SEND, here, "sent", 4, 0);
	uring_run(&ring);
	receive(res[0], to);
	send_message(IORING_OP_SENDMSG, here, NULL, to);
	receive(res[0], to);
	uring_put(&ring, IORING_OP_SHUTDOWN, here, NULL, SHUT_WR, 0);
	uring_run(&ring);
	must(read(res[0], &end, 1) == 0);
}

/* Datagrams whose bytes are sent from where they are, to an address of each. */
WAY("uring-uncopied")
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(4711),
				       .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int to = make_file("received", 0), from, receiver;
	struct io_uring_sqe *sqe;

	uring_open(&ring, 8, 0);
	receiver = new_socket(AF_INET, SOCK_DGRAM);
	need(bind(receiver, (void *)&address, sizeof(address)));
	from = new_socket(AF_INET, SOCK_DGRAM);
	sqe = uring_put(&ring, IORING_OP_SEND_ZC, from, "uncopied", 8, (uintptr_t)&address);
	sqe->addr_len = sizeof(address);
	uring_submit(&ring);
	must(uring_next(&ring).res == 8);
	must(uring_next(&ring).flags & IORING_CQE_F_NOTIF);
	receive(receiver, to);
	send_message(IORING_OP_SENDMSG_ZC, from, &address, -1);
	receive(receiver, to);
}
