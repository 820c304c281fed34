/* SPDX-License-Identifier: MIT */
/* Bytes of files that a comparison leaves out: see --mask in manifest.c. */
#ifndef LEMONA_VERIFY_MASK_H
#define LEMONA_VERIFY_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Reads the mask. Returns 0, or -1 with errno; EINVAL for a line that is none. */
int mask_read(const char *file);
/* Chooses the part of the mask that belongs to an escaped path. */
void mask_choose(const char *path);
/* Whether any byte of that path is hidden. */
bool mask_hides(void);
/* Makes zeros of the hidden bytes in @data, which stands at @at of the file. */
void mask_hide(unsigned char *data, size_t len, uint64_t at);

#endif /* LEMONA_VERIFY_MASK_H */
