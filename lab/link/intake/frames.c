// SPDX-License-Identifier: MIT
/*
 * Frames out of a stream that was cut anywhere. Sub-buffers are checked and go
 * to the file as they come; the others are the server's.
 */
#include <stdlib.h>
#include <string.h>

#include "intake.h"

static struct {
	uint32_t cpus;
	uint64_t boot_id;
	uint32_t category;
	struct stored *stored; /* by CPU: what was there at the beginning */
	uint64_t *next; /* by CPU: what comes must not have smaller ones */
} boot;

/* The frame that has begun. */
static struct {
	struct lemona_wire_frame header;
	size_t header_filled;
	size_t filled; /* of its body */
	struct lemona_subbuf subbuf;
	bool is_first; /* of its stream on this connection */
	bool is_other; /* of another history, if it is whole: not written */
	uint32_t crc;
	uint8_t *other; /* the body of another frame */
} frame;

void frames_begin(const struct begin *begin, const struct stored *stored)
{
	boot.cpus = begin->cpus;
	boot.boot_id = begin->boot_id;
	boot.category = begin->category;
	boot.stored = calloc(boot.cpus, sizeof(*boot.stored));
	boot.next = calloc(boot.cpus, sizeof(*boot.next));
	if (!boot.stored || !boot.next)
		abort();
	for (uint32_t i = 0; i < begin->streams; i++) {
		if (stored[i].cpu < boot.cpus)
			boot.stored[stored[i].cpu] = stored[i];
	}
}

static bool bad_subbuf(const char *what, uint64_t seen, uint64_t wanted)
{
	return over(LEMONA_WIRE_BAD_FRAME, "a sub-buffer: %s is %#llx, wanted %#llx", what,
		    (unsigned long long)seen, (unsigned long long)wanted);
}

/* Rules 1 and 2 of docs/format.md, and that it belongs here. */
static bool check_subbuf(void)
{
	const struct lemona_subbuf *subbuf = &frame.subbuf;

	if (subbuf->magic != LEMONA_MAGIC)
		return bad_subbuf("magic", subbuf->magic, LEMONA_MAGIC);
	if (subbuf->version != LEMONA_VERSION)
		return bad_subbuf("version", subbuf->version, LEMONA_VERSION);
	if (subbuf->abi_hash != LEMONA_ABI_HASH)
		return bad_subbuf("ABI hash", subbuf->abi_hash, LEMONA_ABI_HASH);
	if (subbuf->length != frame.header.length)
		return bad_subbuf("length", subbuf->length, frame.header.length);
	if (subbuf->boot_id != boot.boot_id)
		return bad_subbuf("boot", subbuf->boot_id, boot.boot_id);
	if (subbuf->flags != boot.category)
		return bad_subbuf("category", subbuf->flags, boot.category);
	if (subbuf->cpu >= boot.cpus)
		return over(LEMONA_WIRE_BAD_FRAME, "a sub-buffer of CPU %u of %u", subbuf->cpu,
			    boot.cpus);
	if (subbuf->number < boot.next[subbuf->cpu] || subbuf->number == UINT64_MAX)
		return over(LEMONA_WIRE_BAD_FRAME, "CPU %u: number %llu came after %llu", subbuf->cpu,
			    (unsigned long long)subbuf->number,
			    (unsigned long long)boot.next[subbuf->cpu] - 1);
	return true;
}

/* Records of its stream that are in no loss, up to its end. */
static uint64_t recorded(const struct lemona_subbuf *subbuf)
{
	return subbuf->issued - subbuf->dropped;
}

/*
 * Whoever goes on with a boot knows from READY what is here, and sends what comes
 * behind it. A machine that was put back to a snapshot, or a copy of it, records
 * the same boot in another way: its numbers begin before, or its records do not
 * count on from those that are here. Of a part the header counts other records.
 */
static bool is_of_other_history(void)
{
	const struct lemona_subbuf *subbuf = &frame.subbuf;
	const struct stored *stored = &boot.stored[subbuf->cpu];
	uint64_t before = recorded(subbuf) - subbuf->records;

	return subbuf->number < stored->next ||
	       (subbuf->number == stored->next && frame.is_first && !boot.category &&
		before != stored->recorded);
}

static bool other_history(void)
{
	const struct lemona_subbuf *subbuf = &frame.subbuf;
	const struct stored *stored = &boot.stored[subbuf->cpu];

	return over(LEMONA_WIRE_ENDED,
		    "another history of this boot: CPU %u: sub-buffer %llu comes, before which there were %llu records; here are all before %llu, with %llu records",
		    subbuf->cpu, (unsigned long long)subbuf->number,
		    (unsigned long long)(recorded(subbuf) - subbuf->records),
		    (unsigned long long)stored->next, (unsigned long long)stored->recorded);
}

/* Its header is whole. */
static bool begin_subbuf(void)
{
	struct lemona_subbuf zeroed = frame.subbuf;

	if (!check_subbuf())
		return false;
	frame.is_first = !boot.next[frame.subbuf.cpu];
	frame.is_other = is_of_other_history();
	boot.next[frame.subbuf.cpu] = frame.subbuf.number + 1;
	zeroed.crc32c = 0;
	frame.crc = crc32c(0, &zeroed, sizeof(zeroed));
	return frame.is_other || segment_room(frame.subbuf.length);
}

static bool end_subbuf(void)
{
	const struct lemona_subbuf *subbuf = &frame.subbuf;
	uint64_t place = (uint64_t)subbuf->cpu << 32 | subbuf->length;
	struct counts counts = { .recorded = recorded(subbuf), .dropped = subbuf->dropped };

	if (frame.crc != subbuf->crc32c)
		return bad_subbuf("checksum", subbuf->crc32c, frame.crc);
	if (frame.is_other)
		return other_history();
	segment_advance(subbuf->length);
	say(SAID_APPENDED, subbuf->number, place, &counts, sizeof(counts));
	return true;
}

/* Copies into something that is not full yet; how many bytes. */
static size_t fill(void *target, size_t size, size_t filled, const uint8_t *bytes, size_t length)
{
	size_t step = smaller(size - filled, length);

	memcpy((uint8_t *)target + filled, bytes, step);
	return step;
}

/* How many bytes it took; -1: it is over. */
static ssize_t take_subbuf(const uint8_t *bytes, size_t length)
{
	size_t left = frame.header.length - frame.filled;
	size_t head = 0;
	size_t taken = 0;

	if (frame.filled < sizeof(frame.subbuf)) {
		taken = fill(&frame.subbuf, sizeof(frame.subbuf), frame.filled, bytes, length);
		if (frame.filled + taken < sizeof(frame.subbuf))
			return (ssize_t)taken;
		if (!begin_subbuf())
			return -1;
		head = sizeof(frame.subbuf);
		left = frame.header.length - head;
	}
	left = smaller(left, length - taken);
	frame.crc = crc32c(frame.crc, bytes + taken, left);
	if (!frame.is_other &&
	    !segment_write(&frame.subbuf, head, bytes + taken, left, head ? 0 : frame.filled))
		return -1;
	return (ssize_t)(taken + left);
}

/* What a driver may send. */
static bool is_length_good(void)
{
	const uint32_t length = frame.header.length;

	switch (frame.header.type) {
	case LEMONA_WIRE_SUBBUF:
		return length >= sizeof(frame.subbuf) && length <= LEMONA_SUBBUF_MAX && length % 8 == 0;
	case LEMONA_WIRE_HEARTBEAT:
		return length == sizeof(struct lemona_wire_status);
	case LEMONA_WIRE_END:
		return length <= boot.cpus * sizeof(struct lemona_wire_end) &&
		       length % sizeof(struct lemona_wire_end) == 0;
	default:
		return false;
	}
}

static bool begin_frame(void)
{
	const struct lemona_wire_frame *header = &frame.header;

	frame.filled = 0;
	if (header->pad != 0 || !is_length_good())
		return over(LEMONA_WIRE_BAD_FRAME, "a frame of type %u with length %u and pad %u",
			    header->type, header->length, header->pad);
	if (header->type != LEMONA_WIRE_SUBBUF) {
		free(frame.other);
		frame.other = malloc(header->length + 1);
		if (!frame.other)
			return over(LEMONA_WIRE_OK, "no memory for a frame of %u bytes", header->length);
	}
	return true;
}

static bool end_frame(void)
{
	frame.header_filled = 0;
	if (frame.header.type == LEMONA_WIRE_SUBBUF)
		return end_subbuf();
	say(SAID_FRAME, frame.header.type, 0, frame.other, frame.header.length);
	return true;
}

bool frames_take(const uint8_t *bytes, size_t length)
{
	const uint8_t *end = bytes + length;

	while (bytes < end) {
		ssize_t taken;

		if (frame.header_filled < sizeof(frame.header)) {
			size_t step = fill(&frame.header, sizeof(frame.header), frame.header_filled, bytes,
					   (size_t)(end - bytes));

			frame.header_filled += step;
			bytes += step;
			if (frame.header_filled < sizeof(frame.header))
				return true;
			if (!begin_frame())
				return false;
		}
		if (frame.header.type == LEMONA_WIRE_SUBBUF)
			taken = take_subbuf(bytes, (size_t)(end - bytes));
		else
			taken = (ssize_t)fill(frame.other, frame.header.length, frame.filled, bytes,
					      (size_t)(end - bytes));
		if (taken < 0)
			return false;
		bytes += taken;
		frame.filled += (size_t)taken;
		if (frame.filled == frame.header.length && !end_frame())
			return false;
	}
	return true;
}
