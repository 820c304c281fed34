/* SPDX-License-Identifier: MIT */
/*
 * System calls by a way into the kernel that is chosen, and a report of them:
 * number, arguments, result, and memory before and after. A call a line,
 *   ABI NR A0 A1 A2 A3 A4 A5 = RESULT
 * and after it a line for each piece of memory that was to be watched,
 *   + ARGUMENT DIRECTION BYTES BEFORE AFTER
 * numbers in hexadecimal but BYTES and RESULT; MARGIN bytes more than BYTES
 * are shown, which nobody should have touched.
 */
#ifndef ENTRY_H
#define ENTRY_H

#include <stddef.h>
#include <stdint.h>

enum entry {
	ENTRY_64,
	ENTRY_IA32,	/* int $0x80 */
	ENTRY_X32,	/* bit 30 of the number */
};

#define MARGIN 16

extern enum entry entry;

/* ENTRY is a word: 64, ia32 or x32 */
void entry_begin(const char *word);
/* Everything that was called goes to a file. */
void entry_end(const char *report);

/* Memory below 4 GiB that holds SIZE bytes and the margin. Of NULL: a pattern. */
void *put(const void *bytes, size_t size);

/* Argument ARG of the next call is memory that the call reads ("in"), writes ("out"), or both ("io"). */
void *watch(int arg, const char *direction, void *at, size_t size);

long call6(long nr, uint64_t a, uint64_t b, uint64_t c, uint64_t d, uint64_t e, uint64_t f);

/* Any value is an argument; those left out are 0. */
#define ARG(x) ((uint64_t)(uintptr_t)(x))
#define CALL7(nr, a, b, c, d, e, f, ...) call6(nr, ARG(a), ARG(b), ARG(c), ARG(d), ARG(e), ARG(f))
#define CALL(...) CALL7(__VA_ARGS__, 0, 0, 0, 0, 0, 0)

#define STRING(text) put(text, sizeof(text))
#define WORDS(...) put((const uint32_t[]){ __VA_ARGS__ }, sizeof((uint32_t[]){ __VA_ARGS__ }))
#define LOW(p) ((uint32_t)(uintptr_t)(p))

void ioctls(void);
void x32_calls(void);
void ptraces(void);

#endif
