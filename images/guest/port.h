/* SPDX-License-Identifier: MIT */
/* Virtio-serial ports, found by the name the host gave them. */
#ifndef LEMONA_GUEST_PORT_H
#define LEMONA_GUEST_PORT_H

#include <sys/types.h>

#define PORT_CTL "lemona.ctl"
#define PORT_KEY "lemona.key"
#define PORT_MARK "lemona.mark"
#define PORT_TRACE "lemona.trace"

/*
 * Looks through /sys/class/virtio-ports. The names arrive by messages of the
 * host after the device was found, so a caller at boot asks again for a while.
 * Returns 0 and the device number, or -1 with errno ENOENT.
 */
int port_find(const char *name, dev_t *dev, char *node, size_t node_len);

/* Opens a port by its name through /dev. Returns a file, or -1 with errno. */
int port_open(const char *name, int flags);

#endif
