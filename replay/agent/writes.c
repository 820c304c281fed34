// SPDX-License-Identifier: MIT
/*
 * Content. The kernel records a large write page by page; pieces that follow
 * each other in one file become one pwritev(), straight from the records. The
 * run ends at the first effect that is neither its next piece nor a sample of
 * times, and before the records' memory is used again.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "replay.h"

/* UIO_MAXIOV of the kernel */
#define PIECES_MAX 1024

static struct {
	struct object *o; /* NULL: no run */
	uint64_t pos, end;
	unsigned int count;
	struct iovec pieces[PIECES_MAX];
	const struct lemona_write *records[PIECES_MAX];
} run;

static int pwrite_whole(int fd, const void *data, size_t len, off_t pos)
{
	ssize_t n = pwrite(fd, data, len, pos);

	if (n >= 0 && n < (ssize_t)len)
		errno = ENOSPC; /* a second call would say so */
	return n == (ssize_t)len ? 0 : -1;
}

/* One piece; also what finds the effect that failed after a run did. */
static void write_one(const struct lemona_write *w, struct object *o)
{
	bool mapped = w->e.h.code == LEMONA_OP_PAGE;
	int fd = object_fd(o, ACCESS_RW);
	struct caps caps;
	int r;

	if (fd < 0) {
		mismatch(o, "open to write", "success", strerror(errno), errno);
		return;
	}
	/* What was stored before the file became immutable may be recorded after that. */
	if (mapped)
		caps_keep(o, fd, &caps);
	UNLOCKED(r, pwrite_whole(fd, w + 1, w->len, w->pos), o, NULL, NULL);
	if (r == 0 && mapped)
		r = caps_give_back(fd, &caps);
	if (r < 0)
		mismatch(o, "pwrite", "success", strerror(errno), errno);
}

void writes_flush(void)
{
	const struct lemona_effect *outer;
	struct object *o = run.o;
	unsigned int i;
	int fd;

	if (!o)
		return;
	run.o = NULL;
	fd = run.count > 1 ? object_fd(o, ACCESS_RW) : -1;
	if (fd >= 0 && pwritev(fd, run.pieces, run.count, run.pos) == (ssize_t)(run.end - run.pos))
		return;
	outer = mismatch_context(NULL);
	for (i = 0; i < run.count; i++) {
		mismatch_context(&run.records[i]->e);
		write_one(run.records[i], o);
	}
	mismatch_context(outer);
}

static bool continues(const struct lemona_write *w, const struct object *o)
{
	return run.o == o && w->pos == run.end && run.count < PIECES_MAX;
}

/* Takes one write; its record must stay where it is until the next flush. */
void writes_add(const struct lemona_write *w, struct object *o)
{
	if (!continues(w, o))
		writes_flush();
	rp.bytes += w->len;
	/* One that waited for a birth is in the birth's size, or is not yet: that sample was made without the lock. */
	if (w->pos + w->len > o->attr.size && (rp.current_seq > o->attr_seq || !o->size_sure))
		o->attr.size = w->pos + w->len;
	object_touch(o);
	/* A store through a mapping keeps file capabilities, which needs more than a write where there are any. */
	if (w->e.h.code == LEMONA_OP_PAGE && o->caps != CAPS_NONE) {
		writes_flush();
		write_one(w, o);
		return;
	}
	if (!run.o) {
		run.o = o;
		run.pos = w->pos;
		run.end = w->pos;
		run.count = 0;
	}
	run.pieces[run.count].iov_base = (void *)(w + 1);
	run.pieces[run.count].iov_len = w->len;
	run.records[run.count++] = w;
	run.end += w->len;
}
