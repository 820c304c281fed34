// SPDX-License-Identifier: MIT
/* The segment file that the server has lent: appending at its end. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "intake.h"

/* How often a full disk is tried again. */
#define SPACE_POLL_MS 250
#define SPACE_POLL_MAX_MS 2000

static struct {
	int file;
	char path[4096];
	uint64_t position; /* behind the last whole sub-buffer */
	uint64_t limit;
	bool is_fresh; /* the lease is for one sub-buffer of any length */
} segment = { .file = -1 };

bool segment_lease(const struct lease *lease, const char *path)
{
	segment_leave();
	if (strlen(path) >= sizeof(segment.path))
		return over(LEMONA_WIRE_OK, "the path of a segment is too long");
	strcpy(segment.path, path);
	segment.file = open(path, O_RDWR | O_CLOEXEC);
	if (segment.file < 0)
		return over(LEMONA_WIRE_OK, "opening %s: %s", path, strerror(errno));
	segment.position = lease->position;
	segment.limit = lease->limit;
	segment.is_fresh = true;
	/* What an intake before left behind it, and nobody counts on. */
	if (ftruncate(segment.file, (off_t)segment.position) < 0)
		return over(LEMONA_WIRE_OK, "cutting %s: %s", path, strerror(errno));
	digest_begin(segment.file, segment.position);
	return true;
}

static bool has_room(uint32_t length)
{
	return segment.file >= 0 &&
	       (segment.is_fresh || segment.position + length <= segment.limit);
}

bool segment_room(uint32_t length)
{
	if (has_room(length))
		return true;
	say(SAID_WANT, 0, length, NULL, 0);
	say_now();
	segment.is_fresh = false;
	while (!segment.is_fresh) {
		if (!obey())
			return false;
	}
	return true;
}

/* Waits for an order at most so long. */
static bool wait_for_space(int ms)
{
	struct pollfd control = { .fd = STDIN_FILENO, .events = POLLIN };

	say_now();
	return poll(&control, 1, ms) <= 0 || obey();
}

bool segment_write(const void *head, size_t head_length, const void *bytes, size_t length,
		   uint64_t offset)
{
	struct iovec parts[2] = {
		{ .iov_base = (void *)head, .iov_len = head_length },
		{ .iov_base = (void *)bytes, .iov_len = length },
	};
	uint64_t at = segment.position + offset;
	size_t left = head_length + length;
	int poll_ms = 0;

	while (left > 0) {
		ssize_t done = pwritev(segment.file, parts, 2, (off_t)at);

		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0 && (errno == ENOSPC || errno == EDQUOT)) {
			if (poll_ms == 0)
				say(SAID_DISK, (uint64_t)errno, 0, NULL, 0);
			poll_ms = poll_ms == 0 ? SPACE_POLL_MS : 2 * poll_ms;
			if (poll_ms > SPACE_POLL_MAX_MS)
				poll_ms = SPACE_POLL_MAX_MS;
			if (!wait_for_space(poll_ms))
				return false;
			continue;
		}
		if (done < 0)
			return over(LEMONA_WIRE_OK, "writing %s: %s", segment.path, strerror(errno));
		at += (uint64_t)done;
		left -= (size_t)done;
		for (int i = 0; i < 2 && done > 0; i++) {
			size_t step = smaller((size_t)done, parts[i].iov_len);

			parts[i].iov_base = (char *)parts[i].iov_base + step;
			parts[i].iov_len -= step;
			done -= (ssize_t)step;
		}
	}
	if (poll_ms > 0)
		say(SAID_DISK, 0, 0, NULL, 0);
	return true;
}

void segment_advance(uint32_t length)
{
	segment.position += length;
	segment.is_fresh = false;
	digest_reach(segment.position);
}

bool segment_digest(const char *path, uint64_t end, const void *extra, size_t length,
		    uint8_t digest[32])
{
	return segment.file >= 0 && strcmp(path, segment.path) == 0 && segment.position == end &&
	       digest_of(extra, length, digest);
}

void segment_leave(void)
{
	if (segment.file < 0)
		return;
	digest_leave();
	close(segment.file);
	segment.file = -1;
}
