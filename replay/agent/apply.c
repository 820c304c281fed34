// SPDX-License-Identifier: MIT
/* Applies one effect: see the rules in replay.h. */
#include <stdlib.h>
#include <string.h>

#include "apply.h"

/* Bytes of effects that wait for a birth: it follows within moments, or never. */
#define HELD_MAX (64u << 20)

static void apply_gone(const struct lemona_effect *e)
{
	struct object *o = object_find(e->ino, e->gen);

	if (!o)
		return;
	if (o->state == LIVE && o->attr.nlink && !o->pinned) {
		mismatch_number(o, "links of a gone inode", 0, o->attr.nlink);
		return;
	}
	/* It may still be on the disk under a name that it lost. */
	if (o->doubt)
		object_die(o);
	else
		object_free(o);
}

/* Keeps an effect for an inode that is not born yet. */
static void hold_back(struct object *o, const struct lemona_effect *e, uint32_t size)
{
	struct early *early;

	rp.held_bytes += size;
	if (rp.held_bytes > HELD_MAX)
		fatal("more than %u bytes of effects wait for inodes that are not born", HELD_MAX);
	early = malloc(sizeof(*early) + size);
	if (!early)
		fatal("out of memory for an early effect");
	early->next = NULL;
	memcpy(early->rec, e, size);
	*o->early_tail = early;
	o->early_tail = &early->next;
	rp.held_back++;
}

/* Not born yet, and its birth is not among lost effects. */
static bool is_awaited(const struct object *o)
{
	return o->state == UNBORN && !rp.doubt_all && !(o->doubt & LEMONA_LOST_PLACE);
}

/*
 * A name in a new directory may be made before the effect that creates the
 * directory has its number: then it waits as well. Returns whether it does.
 */
static bool waits_for_dir(const struct lemona_effect *e, uint32_t size)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;
	struct object *dir = NULL;

	if (e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_RMDIR) {
		dir = object_get(d->dir.ino, d->dir.gen);
	} else if (e->h.code == LEMONA_OP_RENAME) {
		dir = object_get(n->old_dir.ino, n->old_dir.gen);
		if (!is_awaited(dir))
			dir = object_get(n->new_dir.ino, n->new_dir.gen);
	}
	if (!dir || !is_awaited(dir))
		return false;
	hold_back(dir, e, size);
	return true;
}

/* An effect on an inode may have its number before the one that creates the inode: then it waits, too. */
static bool waits_for_birth(const struct lemona_effect *e, uint32_t size)
{
	struct object *o;

	if ((e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_TMPFILE) || e->h.code == LEMONA_OP_GONE)
		return false;
	o = object_get(e->ino, e->gen);
	if (!is_awaited(o))
		return false;
	hold_back(o, e, size);
	return true;
}

static void apply_to_inode(const struct lemona_effect *e)
{
	struct object *o = object_get(e->ino, e->gen);

	if (o->state == DEAD) {
		rp.unreachable++;
		return;
	}
	if (o->state == UNBORN) {
		doubt_adrift(e, o);
		return;
	}
	switch (e->h.code) {
	case LEMONA_OP_WRITE:
	case LEMONA_OP_PAGE:
		if (((const struct lemona_write *)e)->len)
			writes_add((const void *)e, o);
		break;
	case LEMONA_OP_SETATTR:
		apply_setattr((const void *)e, o);
		break;
	case LEMONA_OP_LINK:
		apply_link((const void *)e, o);
		break;
	case LEMONA_OP_UNLINK:
	case LEMONA_OP_RMDIR:
		apply_unlink((const void *)e, o);
		break;
	case LEMONA_OP_RENAME:
		apply_rename((const void *)e, o);
		break;
	case LEMONA_OP_FALLOCATE:
		apply_fallocate((const void *)e, o);
		break;
	case LEMONA_OP_XATTR:
		apply_xattr((const void *)e, o);
		break;
	}
}

/* What may stand between two pieces of a run of writes: it asks nothing of the file system. */
static bool leaves_writes_alone(const struct lemona_effect *e, uint32_t size)
{
	if (e->h.code == LEMONA_OP_WRITE || e->h.code == LEMONA_OP_PAGE)
		return true;
	return e->h.code == LEMONA_OP_SETATTR && size >= sizeof(struct lemona_setattr) &&
	       !((const struct lemona_setattr *)e)->valid;
}

void apply_effect(const struct lemona_effect *e, uint32_t size)
{
	const struct lemona_effect *outer;
	uint64_t outer_seq = rp.current_seq;

	if (!leaves_writes_alone(e, size))
		writes_flush();
	outer = mismatch_context(e);
	rp.current_seq = e->seq;
	switch (e->h.code) {
	case LEMONA_OP_MOUNT:
	case LEMONA_OP_UMOUNT:
	case LEMONA_OP_MARK:
	case LEMONA_OP_NOP:
	case LEMONA_OP_START:
		break;
	case LEMONA_OP_TAINT:
		if (well_formed(e, size))
			report_taint((const void *)e);
		else
			mismatch(NULL, "record", "lengths that fit", "lengths that do not", EINVAL);
		break;
	case LEMONA_OP_WRITE ... LEMONA_OP_GONE:
		if (e->dev != rp.dev) {
			rp.skipped++;
			break;
		}
		if (!well_formed(e, size)) {
			mismatch(NULL, "record", "lengths that fit", "lengths that do not", EINVAL);
			break;
		}
		/* Counted when it is applied. */
		if (waits_for_dir(e, size) || waits_for_birth(e, size))
			break;
		if (e->h.code == LEMONA_OP_GONE)
			apply_gone(e);
		else if (e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_TMPFILE)
			apply_birth((const void *)e);
		else
			apply_to_inode(e);
		rp.applied++;
		break;
	default:
		mismatch(NULL, "opcode", "a known one", op_name(e->h.code), EINVAL);
	}
	rp.current_seq = outer_seq;
	mismatch_context(outer);
}
