// SPDX-License-Identifier: MIT
/*
 * Rebuilding across lost effects.
 *
 * For each lost effect the host sends which inodes it was about and what of
 * them (CONTROL_LOST). Nothing is known of how they changed, but nothing else
 * changed: so a later effect that can't be applied as recorded is explained
 * if, and only if, an inode it involves is in such a doubt. It is then applied
 * as far as it can be, and the doubt spreads to what it would have changed.
 * What no doubt explains is a mismatch as ever. What an operation takes from an
 * inode in doubt, flags, project and ACLs, the record tells as well, and that
 * counts.
 *
 * An inode whose birth was lost, or happened in a directory that is missing,
 * stays UNBORN with every doubt: adrift. Effects on it are left out.
 *
 * When a name is taken by what should have gone, the record is right: what is
 * there goes, or, if it is a directory that is not empty, moves to lost+found,
 * for what is in it may live on under a name that is not known.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "apply.h"

#define LIMBO "lost+found"
/* What an operation on names leaves unsure. */
#define NAME_DOUBTS (LEMONA_LOST_ENTRIES | LEMONA_LOST_PLACE)

static unsigned int limbo_count;

void doubt_note(const struct control_lost *l)
{
	struct object *o;

	rp.doubts = true;
	if (!l->ino) {
		rp.doubt_all = true;
		waiting_go_on();
		return;
	}
	o = object_get(l->ino, l->gen);
	o->doubt |= l->what;
	/* What waits for a birth that is lost waits for nothing. */
	if (o->state == UNBORN && (o->doubt & LEMONA_LOST_PLACE))
		waiting_own(o);
	waiting_go_on();
}

static bool starts(const char *text, const char *with)
{
	return strncmp(text, with, strlen(with)) == 0;
}

/* One attribute that differs: is it among those in doubt? */
static int explains_field(const struct object *o, const char *what)
{
	static const struct {
		const char *field;
		uint8_t doubts;
	} fields[] = {
		{ "links", NAME_DOUBTS },
		{ "size", LEMONA_LOST_CONTENT | LEMONA_LOST_ATTR },
		{ "inode", LEMONA_LOST_PLACE },
		{ "birth", LEMONA_LOST_PLACE },
	};
	size_t i;

	for (i = 0; i < sizeof(fields) / sizeof(*fields); i++)
		if (starts(what, fields[i].field))
			return (o && (o->doubt & fields[i].doubts)) ||
			       (o && (o->doubt & LEMONA_LOST_ALL) == LEMONA_LOST_ALL);
	if (starts(what, "type") || starts(what, "device"))
		return o && (o->doubt & LEMONA_LOST_ALL) == LEMONA_LOST_ALL;
	return -1;
}

/* The inodes of an effect on names, directories first. */
static int involved(const struct lemona_effect *e, struct object **of, int *dirs)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;
	const struct lemona_attr *attrs[4];
	int count = 0, i, found = 0;

	*dirs = 0;
	if (e->h.code == LEMONA_OP_RENAME) {
		attrs[count++] = &n->old_dir;
		attrs[count++] = &n->new_dir;
		*dirs = 2;
		attrs[count++] = &n->source;
		if (n->target.ino)
			attrs[count++] = &n->target;
	} else {
		attrs[count++] = &d->dir;
		*dirs = 1;
		attrs[count++] = &d->child;
	}
	for (i = 0; i < count; i++) {
		of[found] = object_find(attrs[i]->ino, attrs[i]->gen);
		if (of[found])
			found++;
		else if (i < *dirs)
			(*dirs)--;
	}
	return found;
}

/*
 * Whether doubts explain a result that differs from the record; @e is NULL in
 * the final pass. Spreads them to what the operation would have changed.
 */
bool doubt_explains(struct object *o, const struct lemona_effect *e, const char *what)
{
	struct object *of[4];
	int count, dirs, i, field;
	bool explained = false;

	/* No loss makes a record such that it can't be read; and nothing of it may be read here. */
	if (starts(what, "record") || starts(what, "opcode"))
		return false;
	if (rp.doubt_all)
		return true;
	field = explains_field(o, what);
	if (field >= 0)
		return field;
	if (!e)
		return false;
	if (e->h.code < LEMONA_OP_CREATE || e->h.code > LEMONA_OP_RENAME) {
		if (!o || !(o->doubt & ~LEMONA_LOST_TIMES))
			return false;
		o->doubt = LEMONA_LOST_ALL;
		return true;
	}
	count = involved(e, of, &dirs);
	for (i = 0; i < count; i++)
		explained = explained || (of[i]->doubt & NAME_DOUBTS);
	for (i = 0; explained && i < count; i++)
		of[i]->doubt |= i < dirs ? LEMONA_LOST_ENTRIES : LEMONA_LOST_PLACE;
	return explained;
}

/* Content moves: bytes in doubt are no longer where they were lost. */
void doubt_shift(struct object *o)
{
	if (o->doubt & LEMONA_LOST_CONTENT)
		o->doubt |= DOUBT_WHOLE | LEMONA_LOST_ATTR;
}

static bool has_doubt(const struct object *o, uint8_t what)
{
	return rp.doubt_all || (o->doubt & what);
}

/*
 * Flags and project may not be as they were, and an operation on names asks
 * for them: births inherit them, and no name leads from one project to another.
 * The record of the operation says what they were.
 */
void doubt_settle(struct object *o, const struct lemona_attr *a)
{
	if (o->state == LIVE && has_doubt(o, LEMONA_LOST_ATTR))
		apply_fsflags(o, a);
}

/* A birth inherits ACLs from its directory, where they may be wrong. The record tells all of them. */
void doubt_inherited(struct object *o, const struct object *dir)
{
	char path[40];
	int fd;

	if (S_ISLNK(o->attr.mode) || !has_doubt(dir, LEMONA_LOST_XATTR))
		return;
	fd = object_fd(o, ACCESS_PATH);
	if (fd < 0)
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	removexattr(path, "system.posix_acl_access");
	removexattr(path, "system.posix_acl_default");
}

static void into_limbo(int dirfd, const char *name)
{
	char to[64];
	uint32_t ino, gen;
	int limbo;

	if (mkdirat(rp.root, LIMBO, 0700) == 0 && object_read_handle(rp.root, "", &ino, &gen) == 0)
		object_get(ino, gen)->doubt |= LEMONA_LOST_ALL & ~LEMONA_LOST_PLACE;
	/* The guest may have made a link of that name, and what it leads to is in no doubt. */
	limbo = openat(rp.root, LIMBO, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (limbo < 0)
		return;
	do {
		snprintf(to, sizeof(to), "lemona-%u", limbo_count++);
	} while (faccessat(limbo, to, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
	if (renameat(dirfd, name, limbo, to) == 0 && object_read_handle(limbo, "", &ino, &gen) == 0)
		object_get(ino, gen)->doubt |= LEMONA_LOST_ALL & ~LEMONA_LOST_PLACE;
	close(limbo);
}

/* Takes away what stands where the record says that nothing does. */
bool doubt_make_way(int dirfd, const char *name)
{
	int error = errno;

	if (!rp.doubts)
		return false;
	if (unlinkat(dirfd, name, 0) < 0 && errno == EISDIR &&
	    unlinkat(dirfd, name, AT_REMOVEDIR) < 0 && errno == ENOTEMPTY)
		into_limbo(dirfd, name);
	errno = error;
	return faccessat(dirfd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0;
}

/*
 * No folder can be moved to below itself. Here @to is below @moved; in the recording it was no more, if something
 * between the two was moved away by a lost effect. Then the place of @moved is in doubt as well.
 */
void doubt_moved_above(struct object *moved, struct object *to)
{
	int error = errno, fd, above;
	uint32_t ino, gen, last_ino = 0, last_gen = 0;
	bool explained = false;
	struct object *o;

	if (!rp.doubts || (error != EINVAL && error != ELOOP))
		return;
	fd = openat(object_fd(to, ACCESS_PATH), ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* The root is its own parent. */
	while (fd >= 0 && object_read_handle(fd, "", &ino, &gen) == 0 && (ino != last_ino || gen != last_gen)) {
		o = object_of_handle(ino, gen);
		if (o == moved) {
			if (explained)
				moved->doubt |= LEMONA_LOST_PLACE;
			break;
		}
		explained = explained || (o && (o->doubt & LEMONA_LOST_PLACE));
		last_ino = ino;
		last_gen = gen;
		above = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = above;
	}
	if (fd >= 0)
		close(fd);
	errno = error;
}

static struct object *live(const struct lemona_attr *a)
{
	struct object *o = a->ino ? object_get(a->ino, a->gen) : NULL;

	return o && o->state == LIVE ? o : NULL;
}

static void doubt_entries(const struct lemona_attr *a)
{
	struct object *dir = live(a);

	if (!dir)
		return;
	dir->doubt |= LEMONA_LOST_ENTRIES;
	object_take_attr(dir, a);
}

/* What a rename replaced is gone, even if what came in its place is not here. */
static void replace_target(const struct lemona_rename *n)
{
	struct object *target = live(&n->target), *to = live(&n->new_dir);
	char name[NAME_MAX + 1];
	int fd;

	if (!target || !to)
		return;
	fd = object_fd(to, ACCESS_PATH);
	memcpy(name, (const char *)(n + 1) + n->old_len, n->new_len);
	name[n->new_len] = 0;
	target->doubt |= LEMONA_LOST_PLACE;
	if (fd >= 0 && object_has_name(target, fd, name))
		doubt_make_way(fd, name);
	object_take_attr(target, &n->target);
}

/* An effect on an inode that is not here. */
void doubt_adrift(const struct lemona_effect *e, struct object *o)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;

	o->doubt = LEMONA_LOST_ALL;
	rp.adrift++;
	switch (e->h.code) {
	case LEMONA_OP_LINK:
	case LEMONA_OP_UNLINK:
	case LEMONA_OP_RMDIR:
		doubt_entries(&d->dir);
		break;
	case LEMONA_OP_RENAME:
		doubt_entries(&n->old_dir);
		doubt_entries(&n->new_dir);
		replace_target(n);
		break;
	}
}

static void take_if_live(const struct lemona_attr *a)
{
	struct object *o = live(a);

	if (o)
		object_take_attr(o, a);
}

/* An effect on names of which only the attributes can be applied. */
void doubt_attributes_only(const struct lemona_effect *e)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;

	if (e->h.code != LEMONA_OP_RENAME) {
		take_if_live(&d->child);
		take_if_live(&d->dir);
		return;
	}
	take_if_live(&n->source);
	take_if_live(&n->old_dir);
	take_if_live(&n->new_dir);
	replace_target(n);
}

static void report_one(struct object *o)
{
	if (!o->doubt)
		return;
	if (!o->handle_known && o->fd >= 0)
		object_learn_handle(o, o->fd, "");
	say("{\"t\":\"doubt\",\"ino\":\"%" PRIu64 "\",\"gen\":%u,\"rebuiltIno\":%u,\"rebuiltGen\":%u,"
	    "\"what\":%u}\n", (uint64_t)o->attr.ino, o->attr.gen, o->handle_known ? o->h_ino : 0,
	    o->handle_known ? o->h_gen : 0, o->doubt);
}

/* Tells the host every doubt, before the answer that ends a stretch of effects. */
void doubt_report(void)
{
	if (!rp.doubts)
		return;
	if (rp.doubt_all)
		say("{\"t\":\"doubt\",\"ino\":\"0\",\"gen\":0,\"rebuiltIno\":0,\"rebuiltGen\":0,\"what\":%u}\n",
		    LEMONA_LOST_ALL);
	objects_each(report_one);
}
