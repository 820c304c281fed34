// SPDX-License-Identifier: MIT
/* Orders of the server, and what is said to it. When the server is gone, so is this process. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "intake.h"

/* A path, or a begin of a machine with 8192 CPUs, and what came with it. */
#define ORDER_MAX (256 * 1024)

uint64_t received;

static uint8_t pending[32 * 1024];
static size_t pending_filled;

static struct {
	enum lemona_wire_code status;
	char why[512];
} end;

static void write_all(const uint8_t *bytes, size_t length)
{
	while (length > 0) {
		ssize_t done = write(STDOUT_FILENO, bytes, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			_exit(1);
		bytes += done;
		length -= (size_t)done;
	}
}

void say_now(void)
{
	write_all(pending, pending_filled);
	pending_filled = 0;
}

void say(enum said_type type, uint64_t a, uint64_t b, const void *bytes, uint32_t length)
{
	struct said said = {
		.type = type,
		.length = length,
		.bytes = received,
		.a = a,
		.b = b,
	};

	if (pending_filled + sizeof(said) + length > sizeof(pending))
		say_now();
	memcpy(pending + pending_filled, &said, sizeof(said));
	pending_filled += sizeof(said);
	if (length <= sizeof(pending) - pending_filled) {
		memcpy(pending + pending_filled, bytes ? bytes : "", length);
		pending_filled += length;
	} else {
		say_now();
		write_all(bytes, length);
	}
}

static void read_all(void *bytes, size_t length)
{
	uint8_t *at = bytes;

	while (length > 0) {
		ssize_t done = read(STDIN_FILENO, at, length);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			_exit(0);
		at += done;
		length -= (size_t)done;
	}
}

/* The next order; its bytes have a zero behind them, and are the caller's to free. */
static struct order hear(uint8_t **bytes)
{
	struct order order;

	read_all(&order, sizeof(order));
	if (order.length > ORDER_MAX)
		abort();
	*bytes = malloc(order.length + 1);
	if (!*bytes)
		abort();
	read_all(*bytes, order.length);
	(*bytes)[order.length] = 0;
	return order;
}

void hear_begin(struct begin *begin, uint8_t *more, size_t *room)
{
	uint8_t *bytes;
	struct order order = hear(&bytes);
	size_t at = sizeof(*begin);

	if (order.type != ORDER_BEGIN || order.length < at)
		abort();
	memcpy(begin, bytes, at);
	if ((order.length - at) / sizeof(struct stored) < begin->streams)
		abort();
	frames_begin(begin, (const struct stored *)(bytes + at));
	at += begin->streams * sizeof(struct stored);
	if (order.length - at > *room)
		abort();
	*room = order.length - at;
	memcpy(more, bytes + at, *room);
	explicit_bzero(bytes, order.length);
	free(bytes);
}

static void answer_digest(const uint8_t *bytes, size_t length)
{
	struct wanted wanted;
	uint8_t digest[32];
	char path[4096];

	memcpy(&wanted, bytes, sizeof(wanted));
	bytes += sizeof(wanted);
	length -= sizeof(wanted);
	if (wanted.path_length > length || wanted.path_length >= sizeof(path))
		abort();
	memcpy(path, bytes, wanted.path_length);
	path[wanted.path_length] = 0;
	bytes += wanted.path_length;
	length -= wanted.path_length;
	if (segment_digest(path, wanted.end, bytes, length, digest))
		say(SAID_DIGEST, 0, 0, digest, sizeof(digest));
	else
		say(SAID_DIGEST, 0, 0, NULL, 0);
	say_now();
}

bool obey(void)
{
	struct lease lease;
	uint8_t *bytes;
	struct order order = hear(&bytes);
	bool goes_on = true;

	if (order.type == ORDER_LEASE && order.length > sizeof(lease)) {
		memcpy(&lease, bytes, sizeof(lease));
		goes_on = segment_lease(&lease, (const char *)bytes + sizeof(lease));
	} else if (order.type == ORDER_DIGEST && order.length >= sizeof(struct wanted)) {
		answer_digest(bytes, order.length);
	} else if (order.type == ORDER_LEAVE) {
		goes_on = over(LEMONA_WIRE_OK, "told to leave");
	} else {
		abort();
	}
	free(bytes);
	return goes_on;
}

bool over(enum lemona_wire_code status, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	end.status = status;
	vsnprintf(end.why, sizeof(end.why), format, arguments);
	va_end(arguments);
	return false;
}

/* Not ru_maxrss, which is that of the process too that began this one. */
static uint64_t peak_bytes(void)
{
	static const char name[] = "VmHWM:";
	char text[4096];
	int file = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
	ssize_t got = file < 0 ? -1 : read(file, text, sizeof(text) - 1);
	const char *at;

	if (file >= 0)
		close(file);
	text[got > 0 ? got : 0] = 0;
	at = strstr(text, name);
	return at ? 1024 * strtoull(at + sizeof(name) - 1, NULL, 10) : 0;
}

static struct used used_now(void)
{
	struct rusage usage = { 0 };
	struct used used = { .peak = peak_bytes() };

	getrusage(RUSAGE_SELF, &usage);
	used.cpu_us = 1000000 * (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
		      (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
	used.written = 512 * (uint64_t)usage.ru_oublock;
	return used;
}

void say_end(void)
{
	struct used used = used_now();
	uint8_t bytes[sizeof(used) + sizeof(end.why)];
	size_t length = strlen(end.why);

	memcpy(bytes, &used, sizeof(used));
	memcpy(bytes + sizeof(used), end.why, length);
	say(SAID_END, end.status, 0, bytes, (uint32_t)(sizeof(used) + length));
	say_now();
}
