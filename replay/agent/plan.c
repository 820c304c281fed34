// SPDX-License-Identifier: MIT
/*
 * The stream of records: control records come over the port, effects in
 * batches from the plan disk (or, in the test lane, over the port as well).
 * Records are used where they were read to. A batch is read while the one
 * before it is being applied.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/aio_abi.h>

#include "replay.h"

/* On the port: the largest record of the test lane. */
#define PORT_BYTES (2u << 20)

struct stream {
	char *bytes;
	size_t have, used;
};

static char port_bytes[PORT_BYTES] __attribute__((aligned(8)));
static char batch_bytes[2][BATCH_MAX] __attribute__((aligned(BATCH_ALIGN)));
static struct stream port = { .bytes = port_bytes }, batch;
static int plan_disk = -1;
static aio_context_t aio;

/* The batch after the one that is being applied. */
static struct {
	char *bytes; /* one of batch_bytes */
	uint32_t len; /* 0: none is being read */
} ahead = { .bytes = batch_bytes[0] };

void plan_open_disk(const char *device)
{
	plan_disk = open(device, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (syscall(SYS_io_setup, 1, &aio) < 0)
		fatal("io_setup: %s", strerror(errno));
}

/* The record at the front of @s, or NULL if it is not there as a whole. */
static const struct lemona_rec *front(const struct stream *s, uint32_t *size)
{
	const struct lemona_rec *h = (const void *)(s->bytes + s->used);

	if (s->have - s->used < sizeof(*h))
		return NULL;
	*size = h->size_kind & LEMONA_REC_SIZE_MASK;
	if (*size < sizeof(*h) || *size % 8 || *size > PORT_BYTES)
		fatal("a record of %u bytes after seq %llu", *size, (unsigned long long)rp.last_seq);
	return s->have - s->used >= *size ? h : NULL;
}

static bool is_batch(const struct lemona_rec *h)
{
	return h->size_kind >> LEMONA_REC_KIND_SHIFT == CONTROL_KIND && h->code == CONTROL_BATCH;
}

static void batch_submit(const struct control_batch *b, uint32_t size)
{
	struct iocb read = { .aio_lio_opcode = IOCB_CMD_PREAD }, *list = &read;

	if (size < sizeof(*b) || !b->len || b->len > BATCH_MAX || b->offset % BATCH_ALIGN)
		fatal("BATCH is malformed");
	read.aio_fildes = plan_disk;
	read.aio_buf = (uintptr_t)ahead.bytes;
	read.aio_nbytes = (b->len + BATCH_ALIGN - 1) & ~(BATCH_ALIGN - 1);
	read.aio_offset = b->offset;
	if (syscall(SYS_io_submit, aio, 1, &list) != 1)
		fatal("reading the plan disk at %llu: %s", (unsigned long long)b->offset, strerror(errno));
	ahead.len = b->len;
}

/* The batch that was submitted becomes the one to apply. */
static void batch_take(void)
{
	struct io_event done;
	long n;

	do
		n = syscall(SYS_io_getevents, aio, 1, 1, &done, NULL);
	while (n < 0 && errno == EINTR);
	if (n != 1 || done.res < ahead.len)
		fatal("reading the plan disk after seq %llu: %s", (unsigned long long)rp.last_seq,
		      n != 1 ? strerror(errno) : done.res < 0 ? strerror(-done.res) : "its end");
	batch = (struct stream){ .bytes = ahead.bytes, .have = ahead.len };
	ahead.bytes = ahead.bytes == batch_bytes[0] ? batch_bytes[1] : batch_bytes[0];
	ahead.len = 0;
	say("{\"t\":\"taken\"}\n");
}

/* Reads from the port; false at its end. */
static bool port_fill(void)
{
	ssize_t n;

	/* Records stay aligned, as all sizes are multiples of 8. */
	memmove(port.bytes, port.bytes + port.used, port.have - port.used);
	port.have -= port.used;
	port.used = 0;
	do
		n = read(rp.in, port.bytes + port.have, PORT_BYTES - port.have);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		fatal("reading the plan: %s", strerror(errno));
	port.have += n;
	return n > 0;
}

/* Begins to read the batch that follows, if it is already known which. */
static void batch_submit_next(void)
{
	struct pollfd news = { .fd = rp.in, .events = POLLIN };
	const struct lemona_rec *h;
	uint32_t size;

	if (poll(&news, 1, 0) > 0)
		port_fill();
	h = front(&port, &size);
	if (!h || !is_batch(h))
		return;
	port.used += size;
	batch_submit((const void *)h, size);
}

/*
 * The next record other than BATCH, or NULL at the end of the stream. What
 * came before it is gone: nothing may point into it any more.
 */
const struct lemona_rec *plan_next(uint32_t *size)
{
	const struct lemona_rec *h;

	for (;;) {
		if (batch.used < batch.have) {
			h = front(&batch, size);
			if (!h)
				fatal("a batch ends inside a record after seq %llu",
				      (unsigned long long)rp.last_seq);
			batch.used += *size;
			return h;
		}
		if (ahead.len) {
			/* What is read next goes to where the records of the run are. */
			writes_flush();
			batch_take();
			batch_submit_next();
			continue;
		}
		h = front(&port, size);
		if (h) {
			port.used += *size;
			if (!is_batch(h))
				return h;
			batch_submit((const void *)h, *size);
			continue;
		}
		writes_flush();
		if (!port_fill())
			return NULL;
	}
}
