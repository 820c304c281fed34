/* SPDX-License-Identifier: MIT */
/* What the steps of the exerciser share. State belongs to a thread. */
#ifndef LEMONA_TEST_EXERCISER_H
#define LEMONA_TEST_EXERCISER_H

#include <setjmp.h>
#include <stddef.h>
#include <sys/types.h>

#define DIRS 4
#define FILES 12
#define SIZE_MAX_BYTES 200000
#define PAGE 4096
#define NAME_ROOM 64
#define BUFFER_BYTES (64 * 1024)

/* For calls whose failing is part of the game. */
#define try(call) do { if (call) {} } while (0)

extern _Thread_local char buf[BUFFER_BYTES];
/* Where a store goes on whose page is no longer there. */
extern _Thread_local sigjmp_buf no_page;
extern _Thread_local volatile int storing;

/* At random, from 0 to @n - 1 */
unsigned int below(unsigned int n);

/* One of the few names that all race for. */
const char *name(char *out);

/* One of the folders they are in. */
const char *dir_name(char *out);

/* Opens one of them; FIFOs are among them, so it never waits for their other end. */
int open_some(int flags);

/* Fills buf with one letter; returns how many bytes of it to use. */
size_t fill(void);

/* Mostly near the start, now and then above 4 GiB or 2 TiB. */
off_t some_place(void);

struct step {
	int weight;
	const char *name;
	void (*run)(void);
};

extern const struct step content_steps[], name_steps[], attribute_steps[];

#endif /* LEMONA_TEST_EXERCISER_H */
