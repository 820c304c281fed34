// SPDX-License-Identifier: MIT
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl.h"
#include "say.h"

/* Enough for a few pipes' worth (64 KiB each) between two turns of the loop. */
#define OUT_BYTES (256 * 1024)

static int port = -1;

static uint8_t in[CTL_HEADER + CTL_PAYLOAD_MAX];
static size_t in_have;
static uint64_t in_skip; /* rest of a frame that was too long */

static uint8_t out[OUT_BYTES];
static size_t out_from, out_to;

void ctl_init(int fd)
{
	port = fd;
}

int ctl_fd(void)
{
	return port;
}

static uint32_t payload_len(void)
{
	uint32_t len;

	memcpy(&len, in, sizeof(len));
	return len;
}

/* A frame too long for us is the host's bug: say so, and keep the framing. */
static void drop_long_frame(void)
{
	uint64_t total;

	if (in_have < CTL_HEADER || payload_len() <= CTL_PAYLOAD_MAX)
		return;
	total = (uint64_t)CTL_HEADER + payload_len();
	ctl_problem("a frame '%c' of %u bytes is longer than %d: dropped", in[4], payload_len(),
		    CTL_PAYLOAD_MAX);
	in_skip = total - in_have;
	in_have = 0;
}

int ctl_fill(void)
{
	ssize_t n;

	if (in_skip) {
		size_t part = in_skip < sizeof(in) ? in_skip : sizeof(in);

		n = read(port, in, part);
		if (n > 0)
			in_skip -= n;
		return n < 0 ? -1 : 0;
	}
	if (in_have == sizeof(in))
		return 0;
	n = read(port, in + in_have, sizeof(in) - in_have);
	if (n < 0)
		return -1;
	in_have += n;
	drop_long_frame();
	return 0;
}

bool ctl_peek(struct ctl_frame *frame)
{
	if (in_have < CTL_HEADER || in_have < CTL_HEADER + payload_len())
		return false;
	frame->type = in[4];
	frame->data = in + CTL_HEADER;
	frame->len = payload_len();
	return true;
}

void ctl_consume(void)
{
	size_t total = CTL_HEADER + payload_len();

	memmove(in, in + total, in_have - total);
	in_have -= total;
	drop_long_frame();
}

bool ctl_room(size_t payload)
{
	return sizeof(out) - (out_to - out_from) >= CTL_HEADER + payload;
}

static void append(const void *data, size_t len)
{
	memcpy(out + out_to, data, len);
	out_to += len;
}

static void begin(uint8_t type, size_t len)
{
	uint32_t size = len;

	if (!ctl_room(len))
		ctl_flush_all(~0u);
	if (sizeof(out) - out_to < CTL_HEADER + len) {
		memmove(out, out + out_from, out_to - out_from);
		out_to -= out_from;
		out_from = 0;
	}
	append(&size, sizeof(size));
	append(&type, sizeof(type));
}

void ctl_send(uint8_t type, const void *data, size_t len)
{
	begin(type, len);
	append(data, len);
}

void ctl_send_id(uint8_t type, uint32_t id, const void *data, size_t len)
{
	begin(type, sizeof(id) + len);
	append(&id, sizeof(id));
	append(data, len);
}

void ctl_problem(const char *fmt, ...)
{
	char text[512];
	va_list ap;
	int len;

	va_start(ap, fmt);
	len = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (len < 0)
		return;
	if ((size_t)len >= sizeof(text))
		len = sizeof(text) - 1;
	/* The console keeps it too: the port may be what is broken. */
	say("problem: %s", text);
	if (port >= 0)
		ctl_send('P', text, len);
}

bool ctl_pending(void)
{
	return out_from < out_to;
}

void ctl_flush(void)
{
	while (ctl_pending()) {
		ssize_t n = write(port, out + out_from, out_to - out_from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		out_from += n;
	}
	out_from = 0;
	out_to = 0;
}

void ctl_flush_all(unsigned int timeout_ms)
{
	uint64_t end = now_ms() + timeout_ms;

	for (;;) {
		struct pollfd pfd = { .fd = port, .events = POLLOUT };

		ctl_flush();
		if (!ctl_pending() || now_ms() >= end)
			return;
		/* A hung-up port polls as ready at once: do not spin on it. */
		if (poll(&pfd, 1, 100) > 0 && (pfd.revents & POLLHUP))
			sleep_ms(20);
	}
}
