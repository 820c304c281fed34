/* SPDX-License-Identifier: MIT */
/*
 * The recording driver as init sees it. Device nodes are kept in the initramfs,
 * under the moved root: a guest that deletes /dev does not stop the end mark.
 */
#ifndef LEMONA_GUEST_DRIVER_H
#define LEMONA_GUEST_DRIVER_H

#include <stdbool.h>
#include <stddef.h>

/* Opens what must stay reachable after the root moved. Call before that. */
void driver_keep(void);

/* True if the kernel has /dev/lemona now. */
bool driver_present(void);

/* True if the initramfs carries the driver as a module. */
bool driver_has_module(void);

/* True if the driver keeps records for a reader of /dev/lemona. */
bool driver_has_relay(void);

/*
 * Has lemona-key give the driver the machine's key, which comes through the key
 * port, if there are servers to show it to. Returns 0, or -1 with a text in
 * `error`.
 */
int driver_give_key(char *error, size_t len);

/* True if the driver got its key, or needs none. */
bool driver_has_key(void);

/*
 * Starts the forwarder on /dev/lemona and the trace port, whose name may take a
 * moment to arrive. Returns 0, or -1 with a text in `error`.
 */
int driver_attach(char *error, size_t len);

/* Loads the module, if the driver is not there. */
int driver_load(char *error, size_t len);

/*
 * Takes a mark on the root filesystem: with the driver if it is there, else with
 * the stock freeze and the number 0. Returns 0, or -1 with a text in `error`.
 */
int driver_mark(const char *label, unsigned int flags, char *error, size_t len);

/*
 * Waits until the forwarder and the servers have everything that was recorded.
 * The caller's own calls are recorded no more.
 */
int driver_drain(char *error, size_t len);

#endif
