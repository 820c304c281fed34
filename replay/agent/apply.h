/* SPDX-License-Identifier: MIT */
/* What the parts of applying an effect share. */
#ifndef LEMONA_REPLAY_APPLY_H
#define LEMONA_REPLAY_APPLY_H

#include "replay.h"

/* well-formed.c: do the lengths inside the record fit in it, and are its names such? */
bool well_formed(const struct lemona_effect *e, uint32_t size);

/* apply.c: at once, whatever waits */
void apply_now(const struct lemona_effect *e);

/* waiting.c: takes an effect that has to wait, and perhaps applies it; false: it need not. */
bool waiting_took(const struct lemona_effect *e, uint32_t size);

/* names.c */
void apply_birth(const struct lemona_dentry *d);
void apply_link(const struct lemona_dentry *d, struct object *o);
void apply_unlink(const struct lemona_dentry *d, struct object *o);
void apply_rename(const struct lemona_rename *n, struct object *o);

/* attributes.c */
void take_dir(struct object *dir, const struct lemona_attr *a);
void check_strictly(struct object *o);
/* Flags other than immutable and append-only, and the project: children inherit them. */
void apply_fsflags(struct object *o, const struct lemona_attr *a);
void apply_setattr(const struct lemona_setattr *s, struct object *o);
void apply_fallocate(const struct lemona_fallocate *f, struct object *o);
void apply_xattr(const struct lemona_xattr *x, struct object *o);

#endif /* LEMONA_REPLAY_APPLY_H */
