// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Parts of sub-buffers, for servers that are to have the records of one
 * category. Streams are written as ever, and split when they are sent: a part
 * says where records stood that it has not, so that all parts together are the
 * whole to the byte.
 */
#include <linux/crc32c.h>
#include <linux/kernel.h>
#include <linux/string.h>

#include "capture.h"
#include "lemona.h"
#include "part.h"

#define ALL	(LEMONA_CATEGORY_NETWORK | LEMONA_CATEGORY_DISK)

DEFINE_STATIC_KEY_FALSE(lemona_by_category);

static const struct {
	const char *name;
	u32 category;
} names[] = {
	{ "network", LEMONA_CATEGORY_NETWORK },
	{ "disk", LEMONA_CATEGORY_DISK },
};

/**
 * lemona_category - look a category up
 * @name: it
 *
 * Return: LEMONA_CATEGORY_*, or 0 if there is none of that name.
 */
u32 lemona_category(const char *name)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(name, names[i].name))
			return names[i].category;
	}
	return 0;
}

/** lemona_categories_are_all - is every record of one of these? */
bool lemona_categories_are_all(u32 categories)
{
	return (categories & ALL) == ALL;
}

/* Who runs, losses and facts belong to each: without them no part makes sense */
static u32 categories_of(const struct lemona_rec *rec)
{
	switch (rec->size_kind >> LEMONA_REC_KIND_SHIFT) {
	case LEMONA_KIND_ENTRY:
	case LEMONA_KIND_EXIT:
		return rec->flags & LEMONA_F_SOCKET ? LEMONA_CATEGORY_NETWORK :
						      LEMONA_CATEGORY_DISK;
	case LEMONA_KIND_URING:
		return lemona_request_about(rec->code) ?
			LEMONA_CATEGORY_NETWORK : LEMONA_CATEGORY_DISK;
	case LEMONA_KIND_EFFECT:
	case LEMONA_KIND_LOST:
	case LEMONA_KIND_FAULT:
		return LEMONA_CATEGORY_DISK;
	}
	return ALL;
}

static u32 put_facts(struct lemona_part *facts,
		     const struct lemona_subbuf *whole)
{
	*facts = (struct lemona_part){
		.h.size_kind = sizeof(*facts) |
			(u32)LEMONA_KIND_PART << LEMONA_REC_KIND_SHIFT,
		.length = whole->length,
		.crc32c = whole->crc32c,
		.records = whole->records,
		.effects = whole->effects,
		.seq_first = whole->seq_first,
		.seq_last = whole->seq_last,
	};
	return sizeof(*facts);
}

static void put_gap(struct lemona_elsewhere *gap, u32 dt)
{
	*gap = (struct lemona_elsewhere){
		.h.size_kind = sizeof(*gap) |
			(u32)LEMONA_KIND_ELSEWHERE << LEMONA_REC_KIND_SHIFT,
		.h.dt = dt,
	};
}

/**
 * lemona_part_make - write what of a sub-buffer is of one category
 * @part: room for lemona_part_max()
 * @whole: complete, with its checksum
 * @category: LEMONA_CATEGORY_*
 */
void lemona_part_make(struct lemona_subbuf *part,
		      const struct lemona_subbuf *whole, u32 category)
{
	u32 from = sizeof(*whole), to = sizeof(*part);
	struct lemona_elsewhere *gap = NULL;
	u32 size;

	*part = *whole;
	to += put_facts((void *)(part + 1), whole);
	part->flags = category;
	part->records = 1;
	part->effects = 0;
	part->seq_first = 0;
	part->seq_last = 0;
	for (; from < whole->length; from += size) {
		const struct lemona_rec *rec = (void *)whole + from;

		size = rec->size_kind & LEMONA_REC_SIZE_MASK;
		if (categories_of(rec) & category) {
			memcpy((void *)part + to, rec, size);
			to += size;
			gap = NULL;
			part->records++;
			if (rec->size_kind >> LEMONA_REC_KIND_SHIFT ==
			    LEMONA_KIND_EFFECT)
				part->effects++;
			continue;
		}
		if (!gap) {
			gap = (void *)part + to;
			to += sizeof(*gap);
			put_gap(gap, rec->dt);
			part->records++;
		}
		gap->records++;
		gap->bytes += size;
	}
	if (part->effects) {
		part->seq_first = whole->seq_first;
		part->seq_last = whole->seq_last;
	}
	part->length = to;
	part->crc32c = 0;
	part->crc32c = ~crc32c(~0U, part, to);
}
