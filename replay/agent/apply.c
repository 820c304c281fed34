// SPDX-License-Identifier: MIT
/* Applies one effect: see the rules in replay.h. */
#include "apply.h"

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

void apply_now(const struct lemona_effect *e)
{
	const struct lemona_effect *outer = mismatch_context(e);
	uint64_t outer_seq = rp.current_seq;

	rp.current_seq = e->seq;
	if (e->h.code == LEMONA_OP_GONE)
		apply_gone(e);
	else if (e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_TMPFILE)
		apply_birth((const void *)e);
	else
		apply_to_inode(e);
	rp.applied++;
	rp.current_seq = outer_seq;
	mismatch_context(outer);
}

void apply_effect(const struct lemona_effect *e, uint32_t size)
{
	const struct lemona_effect *outer;

	if (!leaves_writes_alone(e, size))
		writes_flush();
	outer = mismatch_context(e);
	switch (e->h.code) {
	case LEMONA_OP_MOUNT:
	case LEMONA_OP_UMOUNT:
	case LEMONA_OP_NOP:
	case LEMONA_OP_START:
		break;
	case LEMONA_OP_MARK:
		waiting_give_up();
		break;
	case LEMONA_OP_TAINT:
		if (well_formed(e, size))
			report_taint((const void *)e);
		else
			mismatch(NULL, "record", "lengths that fit", "lengths that do not", EINVAL);
		break;
	case LEMONA_OP_WRITE ... LEMONA_OP_GONE:
		if (e->dev != rp.dev)
			rp.skipped++;
		else if (!well_formed(e, size))
			mismatch(NULL, "record", "lengths that fit", "lengths that do not", EINVAL);
		else if (!waiting_took(e, size))
			apply_now(e);
		break;
	default:
		mismatch(NULL, "opcode", "a known one", op_name(e->h.code), EINVAL);
	}
	mismatch_context(outer);
}
