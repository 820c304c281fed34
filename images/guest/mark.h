/* SPDX-License-Identifier: MIT */
/*
 * A mark: an instant with a name, at which the host keeps a snapshot of the
 * disk as an oracle.
 *
 *   open everything     nothing may be opened or faulted in while frozen
 *   FREEZE              sync, capture mapped pages, MARK record, push buffers
 *   MARK s t label\n -> the host snapshots the disk
 *                    <- OK\n or ERR text\n
 *   THAW                whatever happened; closing the file thaws as well
 */
#ifndef LEMONA_GUEST_MARK_H
#define LEMONA_GUEST_MARK_H

#include <stdbool.h>
#include <stdint.h>

#define MARK_LABEL_MAX 64

struct mark {
	const char *label;
	uint32_t flags;		/* LEMONA_FREEZE_F_* */
	int driver;		/* /dev/lemona; -1: freeze with the stock ioctl, number 0 */
	int root;		/* any file on the filesystem */
	int port;		/* lemona.mark; opened before, as only one task may have it */
	uint64_t seq;		/* out */
	char error[256];	/* out: why it failed */
};

bool mark_label_ok(const char *label);

/*
 * Opens the mark port with `open_port`, which is asked again while another
 * task holds it. Returns the file, or -1 with m->error.
 */
int mark_open_port(struct mark *m, int (*open_port)(void *arg), void *arg);

/* Takes the mark. Returns 0, or -1 with m->error; the filesystem is thawed. */
int mark_take(struct mark *m);

#endif
