/* SPDX-License-Identifier: MIT */
/* Texts that grow, and the end of a program that can't go on. */
#ifndef LEMONA_VERIFY_TEXT_H
#define LEMONA_VERIFY_TEXT_H

#include <stddef.h>

enum { EXIT_CORRUPT = 1, EXIT_USAGE = 2, EXIT_RECOVERY = 3, EXIT_ENVIRONMENT = 4 };

/* Terminated, once something was put into it. */
struct text {
	char *at;
	size_t len, room;
};

void die(int status, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Makes room for @more bytes and the end. */
void room_for(struct text *t, size_t more);
/* At most 255 bytes. */
void put(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* See manifest.c for which bytes are escaped. */
void put_escaped(struct text *t, const char *bytes, size_t len);
void put_hex(struct text *t, const unsigned char *bytes, size_t len);

#endif /* LEMONA_VERIFY_TEXT_H */
