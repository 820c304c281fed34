// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "devices.h"
#include "ways.h"

int loop_attach(const char *file, int open_flags, char *name)
{
	int control = need(open("/dev/loop-control", O_RDWR | O_CLOEXEC)), device, backing;

	snprintf(name, 32, "/dev/loop%ld", need(ioctl(control, LOOP_CTL_GET_FREE)));
	device = need(open(name, O_RDWR | O_CLOEXEC));
	backing = need(open(file, O_RDWR | O_CLOEXEC | open_flags));
	need(ioctl(device, LOOP_SET_FD, backing));
	need(close(backing));
	need(close(control));
	return device;
}

void loop_detach(int device)
{
	need(ioctl(device, LOOP_CLR_FD, 0));
	need(close(device));
}

void run(const char *const *argv)
{
	pid_t pid = need(fork());
	int status;

	if (pid == 0) {
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	need(waitpid(pid, &status, 0));
	must(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}
