// SPDX-License-Identifier: MIT
/* Texts that grow, and the end of a program that can't go on. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "text.h"

void die(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lemona-manifest: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

void room_for(struct text *t, size_t more)
{
	if (t->len + more + 1 <= t->room)
		return;
	t->room = (t->len + more + 1) * 2;
	t->at = realloc(t->at, t->room);
	if (!t->at)
		die(EXIT_ENVIRONMENT, "out of memory");
}

void put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	room_for(t, 256);
	va_start(args, format);
	n = vsnprintf(t->at + t->len, 256, format, args);
	va_end(args);
	t->len += n;
}

void put_escaped(struct text *t, const char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t i;

	room_for(t, len * 3);
	for (i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if (c < 0x21 || c > 0x7e || c == '%' || c == ',' || c == '=') {
			t->at[t->len++] = '%';
			t->at[t->len++] = hex[c >> 4];
			t->at[t->len++] = hex[c & 15];
		} else {
			t->at[t->len++] = c;
		}
	}
	t->at[t->len] = 0;
}

void put_hex(struct text *t, const unsigned char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t i;

	room_for(t, len * 2);
	for (i = 0; i < len; i++) {
		t->at[t->len++] = hex[bytes[i] >> 4];
		t->at[t->len++] = hex[bytes[i] & 15];
	}
	t->at[t->len] = 0;
}
