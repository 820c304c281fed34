// SPDX-License-Identifier: MIT
#include <errno.h>
#include <linux/fs.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "../../module/lemona_abi.h"
#include "mark.h"
#include "say.h"

/* A mark of another task ends within its own deadlines; then we give up. */
#define PORT_WAIT_MS 60000
/* The host snapshots a disk of a few GiB; a slow one takes seconds. */
#define REPLY_WAIT_MS 120000

bool mark_label_ok(const char *label)
{
	size_t len = strlen(label);

	return len && len <= MARK_LABEL_MAX &&
	       strspn(label, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

int mark_open_port(struct mark *m, int (*open_port)(void *arg), void *arg)
{
	uint64_t end = now_ms() + PORT_WAIT_MS;
	int fd;

	for (;;) {
		fd = open_port(arg);
		if (fd >= 0)
			return fd;
		if (errno != EBUSY || now_ms() >= end)
			break;
		sleep_ms(20);
	}
	snprintf(m->error, sizeof(m->error), "cannot open the port lemona.mark: %s%s", strerror(errno),
		 errno == EBUSY ? " for 60 s: another mark is being taken and does not end" : "");
	return -1;
}

static int freeze(struct mark *m, uint64_t *real_ns)
{
	struct lemona_freeze arg = {
		.size = sizeof(arg),
		.fd = m->root,
		.flags = m->flags,
		.label_len = strlen(m->label),
	};
	struct timespec ts;

	if (m->driver < 0) {
		if (ioctl(m->root, FIFREEZE, 0))
			return -1;
		clock_gettime(CLOCK_REALTIME, &ts);
		*real_ns = (uint64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
		m->seq = 0;
		return 0;
	}
	memcpy(arg.label, m->label, arg.label_len);
	if (ioctl(m->driver, LEMONA_IOC_FREEZE, &arg))
		return -1;
	m->seq = arg.seq;
	*real_ns = arg.real_ns;
	return 0;
}

static int thaw(struct mark *m)
{
	if (m->driver < 0)
		return ioctl(m->root, FITHAW, 0);
	return ioctl(m->driver, LEMONA_IOC_THAW);
}

/* The host's answer, up to the end of its line. */
static int read_reply(struct mark *m, char *reply, size_t len)
{
	uint64_t end = now_ms() + REPLY_WAIT_MS;
	size_t have = 0;

	for (;;) {
		struct pollfd pfd = { .fd = m->port, .events = POLLIN };
		uint64_t now = now_ms();
		ssize_t n;

		if (now >= end) {
			snprintf(m->error, sizeof(m->error),
				 "the host did not answer within %d s", REPLY_WAIT_MS / 1000);
			return -1;
		}
		if (poll(&pfd, 1, end - now) < 0 && errno != EINTR)
			break;
		if (!(pfd.revents & POLLIN)) {
			if (pfd.revents & (POLLHUP | POLLERR)) {
				snprintf(m->error, sizeof(m->error), "the host closed the port lemona.mark");
				return -1;
			}
			continue;
		}
		n = read(m->port, reply + have, len - 1 - have);
		if (n < 0 && (errno == EINTR || errno == EAGAIN))
			continue;
		if (n <= 0)
			break;
		have += n;
		reply[have] = '\0';
		if (strchr(reply, '\n')) {
			*strchr(reply, '\n') = '\0';
			return 0;
		}
		if (have == len - 1)
			break;
	}
	snprintf(m->error, sizeof(m->error), "reading the host's answer failed: %s", strerror(errno));
	return -1;
}

static int ask_host(struct mark *m, uint64_t real_ns)
{
	char line[192], reply[200];
	int len;

	len = snprintf(line, sizeof(line), "MARK %llu %llu %s\n", (unsigned long long)m->seq,
		       (unsigned long long)real_ns, m->label);
	if (write_all(m->port, line, len)) {
		snprintf(m->error, sizeof(m->error), "writing to the port lemona.mark failed: %s",
			 strerror(errno));
		return -1;
	}
	if (read_reply(m, reply, sizeof(reply)))
		return -1;
	if (strcmp(reply, "OK")) {
		snprintf(m->error, sizeof(m->error), "the host took no snapshot: %s",
			 strncmp(reply, "ERR ", 4) ? reply : reply + 4);
		return -1;
	}
	return 0;
}

int mark_take(struct mark *m)
{
	uint64_t real_ns;
	int ret;

	if (freeze(m, &real_ns)) {
		snprintf(m->error, sizeof(m->error), "the filesystem cannot be frozen: %s", strerror(errno));
		return -1;
	}
	ret = ask_host(m, real_ns);
	if (thaw(m)) {
		/* Of two errors the first is the one to know; a failed thaw is worse than any. */
		snprintf(m->error, sizeof(m->error), "the filesystem cannot be thawed: %s", strerror(errno));
		return -1;
	}
	return ret;
}
