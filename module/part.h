/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Parts of sub-buffers: see part.c */
#ifndef LEMONA_PART_H
#define LEMONA_PART_H

#include <linux/types.h>

#include "lemona_abi.h"

/*
 * Bytes of the largest part of @whole bytes. What stands for records is at most
 * 8 bytes larger than the smallest record, and another one is in between.
 */
static inline u32 lemona_part_max(u32 whole)
{
	return whole + sizeof(struct lemona_part) + whole / 4;
}

u32 lemona_category(const char *name);
bool lemona_categories_are_all(u32 categories);
void lemona_part_make(struct lemona_subbuf *part,
		      const struct lemona_subbuf *whole, u32 category);

#endif /* LEMONA_PART_H */
