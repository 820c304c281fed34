/* SPDX-License-Identifier: MIT */
/* The programs the host runs in the guest, their pipes and their ends. */
#ifndef LEMONA_GUEST_CHILD_H
#define LEMONA_GUEST_CHILD_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHILDREN_MAX 64
/* stdin, stdout and stderr of each. */
#define CHILD_POLLFDS (3 * CHILDREN_MAX)

/* Opens /dev/null for those without piped stdin. */
void child_init(void);

/* Starts a program; `args` are strings, each ended by a zero byte. */
void child_run(uint32_t id, bool piped, const char *args, size_t len);

/*
 * Gives bytes to a child's stdin; none ends it. Returns how many were taken:
 * fewer than `len` means its pipe is full. Bytes nobody will read are taken.
 */
size_t child_stdin(uint32_t id, const uint8_t *data, size_t len);

void child_kill(uint32_t id, int sig);

/* Collects all that ended, orphans included. False once no process is left. */
bool child_reap(void);

/* Fills in what to wait for; `stdin_id` is the child whose stdin is blocked. */
int child_poll_set(struct pollfd *set, const uint32_t *stdin_id);

/* Moves output into frames while there is room, and reports ends. */
void child_pump(void);

#endif
