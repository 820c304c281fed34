// SPDX-License-Identifier: MIT
/*
 * lemona-mark LABEL: freezes the root filesystem, has the host keep a snapshot
 * of the disk under that label, thaws. See mark.h for the steps.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mark.h"
#include "port.h"
#include "say.h"

#define EXIT_USAGE 2

static int open_mark_port(void *arg)
{
	(void)arg;
	return port_open(PORT_MARK, O_RDWR);
}

int main(int argc, char **argv)
{
	struct mark m = { .driver = -1, .root = -1, .port = -1 };
	sigset_t all, old;
	int ret;

	if (argc != 2 || !mark_label_ok(argv[1])) {
		fprintf(stderr, "usage: lemona-mark LABEL\n"
			"LABEL has 1 to %d characters of A-Z a-z 0-9 . _ -\n", MARK_LABEL_MAX);
		return EXIT_USAGE;
	}
	m.label = argv[1];
	/* A page of this program read in while its own disk is frozen would never come. */
	if (mlockall(MCL_CURRENT | MCL_FUTURE)) {
		say("cannot lock its memory: %s (only root can take a mark)", strerror(errno));
		return 1;
	}
	m.driver = open("/dev/lemona", O_RDWR | O_CLOEXEC);
	if (m.driver < 0) {
		if (errno == ENOENT)
			say("this kernel is not recording: there is no /dev/lemona, so nothing can be marked");
		else
			say("cannot open /dev/lemona: %s", strerror(errno));
		return 1;
	}
	m.root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m.root < 0) {
		say("cannot open /: %s", strerror(errno));
		return 1;
	}
	m.port = mark_open_port(&m, open_mark_port, NULL);
	if (m.port < 0) {
		say("%s", m.error);
		return 1;
	}

	/* Dying half-way would thaw under the host's hands: only SIGKILL may. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &old);
	ret = mark_take(&m);
	close(m.port);
	sigprocmask(SIG_SETMASK, &old, NULL);

	if (ret) {
		say("mark %s failed: %s", m.label, m.error);
		return 1;
	}
	printf("mark %s at seq %llu\n", m.label, (unsigned long long)m.seq);
	return fflush(stdout) ? 1 : 0;
}
