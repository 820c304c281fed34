// SPDX-License-Identifier: MIT
/* Who writes never opened the file, or opened it by no name. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "ways.h"

static int pair[2];

static void write_received(void *arg)
{
	int fd = receive_fd(pair[1]);

	(void)arg;
	must(pwrite(fd, "by the receiver", 15, 500) == 15);
	need(ftruncate(fd, 20000));
}

WAY("passed-fd")
{
	int fd = make_file("f", 1000);
	pid_t pid;

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	pid = spawn(write_received, NULL);
	send_fd(pair[0], fd);
	need(close(fd));
	reap(pid, 0);
}

static int in_child;

static void hold(void *arg)
{
	(void)arg;
	must(write(pair[1], "x", 1) == 1);
	for (;;)
		pause();
}

WAY("pidfd-getfd")
{
	char byte;
	pid_t pid;
	int fd;

	need(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	in_child = make_file("f", 1000);
	pid = spawn(hold, NULL);
	need(close(in_child));
	must(read(pair[0], &byte, 1) == 1);
	fd = need(syscall(SYS_pidfd_getfd, need(syscall(SYS_pidfd_open, pid, 0)), in_child, 0));
	must(pwrite(fd, "taken from another process", 26, 900) == 26);
	need(fchmod(fd, 0601));
	need(kill(pid, SIGKILL));
	reap(pid, SIGKILL);
}

WAY("by-handle")
{
	struct file_handle *handle = calloc(1, sizeof(*handle) + MAX_HANDLE_SZ);
	int mount_id, fd, root = need(open(".", O_RDONLY | O_DIRECTORY));

	need(close(make_file("f", 1000)));
	handle->handle_bytes = MAX_HANDLE_SZ;
	need(name_to_handle_at(AT_FDCWD, "f", handle, &mount_id, 0));
	/* Its name is another by then. */
	need(rename("f", "g"));
	fd = need(open_by_handle_at(root, handle, O_RDWR));
	must(pwrite(fd, "by handle", 9, 3000) == 9);
}
