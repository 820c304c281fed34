/* SPDX-License-Identifier: MIT */
/* The words of the kernel command line that begin with `lemona.`. */
#ifndef LEMONA_GUEST_CMDLINE_H
#define LEMONA_GUEST_CMDLINE_H

#include <stddef.h>

/* Reads /proc/cmdline, once it is mounted. */
void cmdline_read(void);

/* The value of `lemona.NAME=VALUE`, or NULL. */
const char *cmdline_get(const char *name);

/* The same as a decimal number; `otherwise` if it is not there or is none. */
unsigned long cmdline_number(const char *name, unsigned long otherwise);

/* `x=y x=y …` for the driver: all such words but init's own and `start`. */
void cmdline_module_params(char *text, size_t len);

#endif
