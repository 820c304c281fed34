/* SPDX-License-Identifier: MIT */
/* Mounts: the initramfs' own, the traced disk, and the move onto it. */
#ifndef LEMONA_GUEST_ROOT_H
#define LEMONA_GUEST_ROOT_H

#include <stddef.h>

/* proc, sys and dev of the initramfs. Returns 0, or -1 with errno. */
int root_mount_early(void);

/*
 * Mounts the traced disk and makes it the root of this process, with proc,
 * sys, dev, dev/pts, dev/shm and run inside. /tmp stays on the disk, so that
 * it is recorded. Returns 0, or -1 with a text in `error`.
 */
int root_enter(const char *options, char *error, size_t len);

/* Host name and the loopback interface. */
void root_network(void);

#endif
