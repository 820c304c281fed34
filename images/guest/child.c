// SPDX-License-Identifier: MIT
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child.h"
#include "ctl.h"
#include "say.h"

/* What a full pipe holds. */
#define CHUNK (64 * 1024)
#define ARGS_MAX 65536

enum stream { OUT, ERR, STREAMS };

static struct child {
	bool used;
	bool exited;	 /* reaped; status is valid */
	bool reported;	 /* X was sent; descendants may still hold the pipes */
	bool dry[STREAMS]; /* exited, and this pipe was seen empty since */
	uint32_t id;
	pid_t pid;
	int status;
	int in;
	int out[STREAMS];
} children[CHILDREN_MAX];

static int dev_null = -1;

static char *const environment[] = {
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	"HOME=/root",
	"USER=root",
	"LOGNAME=root",
	"SHELL=/bin/sh",
	"LANG=C.UTF-8",
	"TERM=dumb",
	NULL,
};

void child_init(void)
{
	dev_null = open("/dev/null", O_RDWR | O_CLOEXEC);
}

static struct child *find(uint32_t id)
{
	for (int i = 0; i < CHILDREN_MAX; i++) {
		if (children[i].used && !children[i].reported && children[i].id == id)
			return &children[i];
	}
	return NULL;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

static void release(struct child *c)
{
	close_fd(&c->in);
	close_fd(&c->out[OUT]);
	close_fd(&c->out[ERR]);
	c->used = false;
}

/* Runs in the new process; only async-signal-safe calls, as there are threads. */
static _Noreturn void become(char **argv, int in, int out, int err)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	char text[256];
	sigset_t none;
	int saved;

	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	sigaction(SIGPIPE, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (chdir("/root") && chdir("/"))
		_exit(126);
	/* PATH is looked up in our own environment, which the kernel made. */
	environ = (char **)environment;
	execvp(argv[0], argv);
	saved = errno;
	snprintf(text, sizeof(text), "lemona: cannot run %.128s: %s\n", argv[0], strerror(saved));
	write_all(2, text, strlen(text));
	_exit(saved == ENOENT ? 127 : 126);
}

static int make_pipes(int in[2], int out[2], int err[2], bool piped)
{
	in[0] = in[1] = out[0] = out[1] = err[0] = err[1] = -1;
	if ((piped && pipe2(in, O_CLOEXEC)) || pipe2(out, O_CLOEXEC) || pipe2(err, O_CLOEXEC))
		return -1;
	/* Only our ends: a child must not see EAGAIN. */
	if (piped)
		fcntl(in[1], F_SETFL, O_NONBLOCK);
	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	return 0;
}

static void fail(uint32_t id, const char *what)
{
	int32_t status = 126;

	ctl_problem("run %u: %s: %s", id, what, strerror(errno));
	ctl_send_id('X', id, &status, sizeof(status));
}

static void start(struct child *c, uint32_t id, bool piped, char **argv)
{
	int in[2], out[2], err[2];
	pid_t pid = -1;

	if (make_pipes(in, out, err, piped) == 0) {
		pid = fork();
		if (pid == 0)
			become(argv, piped ? in[0] : dev_null, out[1], err[1]);
	}
	if (pid < 0)
		fail(id, "cannot start a process");
	close_fd(&in[0]);
	close_fd(&out[1]);
	close_fd(&err[1]);
	*c = (struct child){ .used = true, .id = id, .pid = pid, .in = in[1], .out = { out[0], err[0] } };
	if (pid < 0)
		release(c);
}

void child_run(uint32_t id, bool piped, const char *args, size_t len)
{
	static char *argv[ARGS_MAX + 1];
	size_t argc = 0;

	if (find(id)) {
		ctl_problem("run %u: this number is already running", id);
		return;
	}
	errno = EINVAL;
	if (!len || args[len - 1]) {
		fail(id, "the arguments do not end with a zero byte");
		return;
	}
	for (const char *at = args; at < args + len; at += strlen(at) + 1) {
		if (argc == ARGS_MAX) {
			errno = E2BIG;
			fail(id, "too many arguments");
			return;
		}
		argv[argc++] = (char *)at;
	}
	argv[argc] = NULL;
	for (int i = 0; i < CHILDREN_MAX; i++) {
		if (!children[i].used) {
			start(&children[i], id, piped, argv);
			return;
		}
	}
	errno = EAGAIN;
	fail(id, "too many programs at once");
}

size_t child_stdin(uint32_t id, const uint8_t *data, size_t len)
{
	struct child *c = find(id);
	size_t taken = 0;

	if (!c || c->in < 0)
		return len;
	if (!len)
		close_fd(&c->in);
	while (taken < len) {
		ssize_t n = write(c->in, data + taken, len - taken);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n < 0) {
			/* It closed its stdin, or is gone. */
			close_fd(&c->in);
			return len;
		}
		taken += n;
	}
	return taken;
}

void child_kill(uint32_t id, int sig)
{
	struct child *c = find(id);

	if (!c || c->exited)
		return;
	/* Just forked, it may not have made its own group yet. */
	if (kill(-c->pid, sig) && errno == ESRCH)
		kill(c->pid, sig);
}

bool child_reap(void)
{
	for (;;) {
		int status;
		pid_t pid = waitpid(-1, &status, WNOHANG);

		if (pid < 0 && errno == EINTR)
			continue;
		if (pid <= 0)
			return pid == 0;
		for (int i = 0; i < CHILDREN_MAX; i++) {
			struct child *c = &children[i];

			if (!c->used || c->exited || c->pid != pid)
				continue;
			c->exited = true;
			c->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
			close_fd(&c->in);
		}
	}
}

int child_poll_set(struct pollfd *set, const uint32_t *stdin_id)
{
	bool room = ctl_room(sizeof(uint32_t) + CHUNK);
	int count = 0;

	for (int i = 0; i < CHILDREN_MAX; i++) {
		struct child *c = &children[i];

		if (!c->used)
			continue;
		for (int s = 0; s < STREAMS && room; s++) {
			if (c->out[s] >= 0)
				set[count++] = (struct pollfd){ .fd = c->out[s], .events = POLLIN };
		}
		if (stdin_id && *stdin_id == c->id && c->in >= 0)
			set[count++] = (struct pollfd){ .fd = c->in, .events = POLLOUT };
	}
	return count;
}

static void pump(struct child *c, enum stream s)
{
	static char chunk[CHUNK];

	while (c->out[s] >= 0 && ctl_room(sizeof(c->id) + CHUNK)) {
		ssize_t n = read(c->out[s], chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			c->dry[s] = c->exited;
			return;
		}
		if (n <= 0) {
			close_fd(&c->out[s]);
			return;
		}
		/* A daemon it left behind may go on writing; it must not get SIGPIPE for that. */
		if (!c->reported)
			ctl_send_id(s == OUT ? 'O' : 'E', c->id, chunk, n);
	}
}

void child_pump(void)
{
	for (int i = 0; i < CHILDREN_MAX; i++) {
		struct child *c = &children[i];
		int32_t status = c->status;

		if (!c->used)
			continue;
		pump(c, OUT);
		pump(c, ERR);
		if (c->exited && !c->reported && (c->dry[OUT] || c->out[OUT] < 0) &&
		    (c->dry[ERR] || c->out[ERR] < 0)) {
			ctl_send_id('X', c->id, &status, sizeof(status));
			c->reported = true;
		}
		if (c->reported && c->out[OUT] < 0 && c->out[ERR] < 0)
			release(c);
	}
}
