// SPDX-License-Identifier: MIT
/* Registered buffers and registered files: no request names a descriptor. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "uring.h"

WAY("uring-fixed")
{
	int files[2] = { make_file("f", 100), make_file("g", 70000) };
	char *buf = (char *)need(mmap(NULL, 16 * PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	struct iovec iov[] = { { buf, 8 * PAGE }, { buf + 8 * PAGE, 8 * PAGE } };
	struct io_uring_sqe *sqe;
	struct uring u;

	uring_open(&u, 8, 0);
	need(uring_register(&u, IORING_REGISTER_BUFFERS, iov, 2));
	need(uring_register(&u, IORING_REGISTER_FILES, files, 2));
	need(close(files[0]));
	need(close(files[1]));
	fill(buf, 16 * PAGE);
	for (int i = 0; i < 6; i++) {
		sqe = uring_put(&u, IORING_OP_WRITE_FIXED, i % 2, buf + i * PAGE, 5000, 12345ul * i);
		sqe->flags = IOSQE_FIXED_FILE;
	}
	uring_run(&u);
	sqe = uring_put(&u, IORING_OP_READ_FIXED, 0, buf + 9 * PAGE, 3000, 0);
	sqe->flags = IOSQE_FIXED_FILE | IOSQE_IO_LINK;
	sqe->buf_index = 1;
	sqe = uring_put(&u, IORING_OP_WRITE_FIXED, 1, buf + 9 * PAGE, 3000, 100000);
	sqe->flags = IOSQE_FIXED_FILE;
	sqe->buf_index = 1;
	uring_run(&u);
}
