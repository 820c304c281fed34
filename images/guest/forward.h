/* SPDX-License-Identifier: MIT */
/*
 * The forwarder: reads sub-buffers from /dev/lemona and writes them whole to
 * the port lemona.trace.
 *
 * It is a thread of PID 1, not a process: the kernel never delivers a fatal
 * signal to the init process and never picks it when memory is short, so no
 * `kill -9 -1` of a guest program cuts the record. It holds two files and one
 * locked buffer, calls nothing but read and write, and never touches the
 * traced disk.
 */
#ifndef LEMONA_GUEST_FORWARD_H
#define LEMONA_GUEST_FORWARD_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Starts it on an open /dev/lemona and an open trace port, and waits until it
 * is exempt from the record and about to read. Both files are its own then.
 * Returns 0, or -1 with errno.
 */
int forward_start(int driver, int port);

bool forward_running(void);

/*
 * Ends what is sent with a whole sub-buffer: power goes soon, and would cut the
 * one that is on its way then. Waits for it until @until_ms at most. Returns the
 * bytes handed to the port since it was started.
 */
uint64_t forward_end(uint64_t until_ms);

#endif
