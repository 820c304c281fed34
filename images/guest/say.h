/* SPDX-License-Identifier: MIT */
/* Messages on the console, clocks, and whole writes. */
#ifndef LEMONA_GUEST_SAY_H
#define LEMONA_GUEST_SAY_H

#include <stddef.h>
#include <stdint.h>

/* One line on stderr, which is the serial console for init. */
void say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

uint64_t now_ms(void);
void sleep_ms(unsigned int ms);

/* Writes all of it, waiting where needed. Returns 0, or -1 with errno. */
int write_all(int fd, const void *data, size_t len);

#endif
