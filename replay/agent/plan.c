// SPDX-License-Identifier: MIT
/*
 * The stream of records: control records come over the port, effects in
 * batches from the plan disk (or, in the test lane, over the port as well).
 * Records are used where they were read to.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"

/* On the port: the largest record of the test lane. */
#define PORT_BYTES (2u << 20)

struct stream {
	char *bytes;
	size_t have, used;
};

static char port_bytes[PORT_BYTES] __attribute__((aligned(8)));
static char batch_bytes[BATCH_MAX] __attribute__((aligned(BATCH_ALIGN)));
static struct stream port = { .bytes = port_bytes }, batch = { .bytes = batch_bytes };
static int plan_disk = -1;

void plan_open_disk(const char *device)
{
	plan_disk = open(device, O_RDONLY | O_DIRECT | O_CLOEXEC);
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

static void load_batch(const struct control_batch *b, uint32_t size)
{
	size_t wanted, done = 0;

	if (size < sizeof(*b) || b->len > BATCH_MAX || b->offset % BATCH_ALIGN)
		fatal("BATCH is malformed");
	wanted = (b->len + BATCH_ALIGN - 1) & ~(size_t)(BATCH_ALIGN - 1);
	while (done < wanted) {
		ssize_t n = pread(plan_disk, batch.bytes + done, wanted - done, b->offset + done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			fatal("reading the plan disk at %llu: %s",
			      (unsigned long long)b->offset + done, n ? strerror(errno) : "its end");
		done += n;
	}
	batch.have = b->len;
	batch.used = 0;
	say("{\"t\":\"taken\"}\n");
}

/*
 * The next record other than BATCH, or NULL at the end of the stream. What
 * came before it is gone: nothing may point into it any more.
 */
const struct lemona_rec *plan_next(uint32_t *size)
{
	const struct lemona_rec *h;
	ssize_t n;

	if (batch.used < batch.have) {
		h = front(&batch, size);
		if (!h)
			fatal("a batch ends inside a record after seq %llu",
			      (unsigned long long)rp.last_seq);
		batch.used += *size;
		return h;
	}
	for (;;) {
		h = front(&port, size);
		if (h) {
			port.used += *size;
			if (h->size_kind >> LEMONA_REC_KIND_SHIFT != CONTROL_KIND ||
			    h->code != CONTROL_BATCH)
				return h;
			/* Its records may be needed until the batch is over. */
			writes_flush();
			load_batch((const void *)h, *size);
			return plan_next(size);
		}
		writes_flush();
		/* Records stay aligned, as all sizes are multiples of 8. */
		if (port.used) {
			memmove(port.bytes, port.bytes + port.used, port.have - port.used);
			port.have -= port.used;
			port.used = 0;
		}
		n = read(rp.in, port.bytes + port.have, PORT_BYTES - port.have);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			fatal("reading the plan: %s", strerror(errno));
		if (n == 0)
			return NULL;
		port.have += n;
	}
}
