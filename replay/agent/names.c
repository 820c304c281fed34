// SPDX-License-Identifier: MIT
/* Effects on names, births among them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <unistd.h>

#include "apply.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#define RENAME_WHITEOUT 4
#endif

/* Copies a string of the record, which is not terminated. */
static const char *name_of(char *to, const char *from, unsigned int len)
{
	memcpy(to, from, len);
	to[len] = 0;
	return to;
}

/* The directory of a dentry effect; it must exist. */
static int dir_fd(struct object **dir, const struct lemona_attr *a)
{
	int fd;

	*dir = object_get(a->ino, a->gen);
	if ((*dir)->state != LIVE) {
		mismatch(*dir, "directory", "exists", (*dir)->state == DEAD ? "removed" : "unknown",
			 ESTALE);
		return -1;
	}
	fd = object_fd(*dir, ACCESS_PATH);
	if (fd < 0)
		failed(*dir, "open directory");
	return fd;
}

/* New inodes get the recorded owner from birth on, as chown() drops capabilities. */
static void become(uid_t uid, gid_t gid)
{
	static uid_t current_uid;
	static gid_t current_gid;

	if (gid != current_gid) {
		setfsgid(gid);
		current_gid = gid;
	}
	if (uid != current_uid) {
		setfsuid(uid);
		current_uid = uid;
	}
}

/*
 * Where nameless files are made. Their own folder's lock is not held, so it may be gone by now, or not born yet; and
 * what they inherit, the records tell in full.
 */
static int nameless_fd(struct object **root)
{
	uint32_t ino, gen;
	int fd = -1;

	*root = object_read_handle(rp.root, "", &ino, &gen) < 0 ? NULL : object_get(ino, gen);
	if (*root)
		fd = object_fd(*root, ACCESS_PATH);
	if (fd < 0)
		failed(*root, "open the root");
	return fd;
}

/* Creates the inode of a birth effect. Returns 0, or -1 with errno. */
static int give_birth(struct object *o, struct object *dir, int dirfd,
		      const struct lemona_dentry *d, const char *name)
{
	const struct lemona_attr *a = &d->child;
	mode_t perm = a->mode & 07777;
	char target[PATH_MAX + 1];
	int r, fd;

	become(a->uid, a->gid);
	switch (d->e.h.code) {
	case LEMONA_OP_CREATE:
		UNLOCKED(fd, openat(dirfd, name, O_CREAT | O_EXCL | O_RDWR | O_NOFOLLOW | O_CLOEXEC,
				    perm), dir, NULL, NULL);
		if (fd >= 0)
			object_adopt_fd(o, fd, ACCESS_RW);
		return fd;
	case LEMONA_OP_TMPFILE:
		UNLOCKED(fd, openat(dirfd, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, perm),
			 dir, NULL, NULL);
		if (fd < 0)
			return fd;
		object_adopt_fd(o, fd, ACCESS_RW);
		object_pin(o, true);
		return acl_forget(o);
	case LEMONA_OP_MKDIR:
		UNLOCKED(r, mkdirat(dirfd, name, perm), dir, NULL, NULL);
		if (r < 0)
			return r;
		fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		o->attr.mode = a->mode; /* says how long it stays open */
		if (fd >= 0)
			object_adopt_fd(o, fd, ACCESS_PATH);
		return fd;
	case LEMONA_OP_MKNOD:
		/* glibc's dev_t equals new_encode_dev() in 32 bits */
		UNLOCKED(r, mknodat(dirfd, name, a->mode, a->rdev), dir, NULL, NULL);
		return r < 0 ? r : object_learn_handle(o, dirfd, name);
	case LEMONA_OP_SYMLINK:
		if (d->extra_len > PATH_MAX) {
			errno = ENAMETOOLONG;
			return -1;
		}
		name_of(target, (const char *)(d + 1) + d->name_len, d->extra_len);
		UNLOCKED(r, symlinkat(target, dirfd, name), dir, NULL, NULL);
		return r < 0 ? r : object_learn_handle(o, dirfd, name);
	}
	errno = EINVAL;
	return -1;
}

/* The birth failed: what the record has of the inode from here on can't be applied. */
static void stays_unborn(struct object *o)
{
	object_die(o);
	if (rp.doubts) {
		o->state = UNBORN;
		o->doubt = LEMONA_LOST_ALL;
	}
	waiting_own(o);
}

/* Nothing that came after the birth is in the sample that the birth carries. */
static bool is_fresh(const struct lemona_dentry *d)
{
	const struct lemona_attr *a = &d->child;
	uint32_t links = d->e.h.code == LEMONA_OP_TMPFILE ? 0 : S_ISDIR(a->mode) ? 2 : 1;

	return a->nlink == links && (!S_ISREG(a->mode) || !a->size);
}

void apply_birth(const struct lemona_dentry *d)
{
	const struct lemona_effect *e = &d->e;
	bool is_nameless = e->h.code == LEMONA_OP_TMPFILE, is_sure;
	struct object *o = object_find(e->ino, e->gen), *dir;
	char name[NAME_MAX + 1];
	uint8_t doubt = 0;
	int dirfd, r;

	if (o && o->state == LIVE) {
		mismatch(o, "birth", "a new inode", "an inode that exists", EEXIST);
		return;
	}
	/* An inode number comes back with its old generation only by chance. The host says a doubt once. */
	if (o && o->state == DEAD) {
		doubt = o->doubt;
		object_free(o);
		o = NULL;
	}
	is_sure = is_fresh(d) && !(o && o->waiting);
	if (!o)
		o = object_add_dead(e->ino, e->gen);
	o->doubt |= doubt;
	dirfd = is_nameless ? nameless_fd(&dir) : dir_fd(&dir, &d->dir);
	if (dirfd < 0) {
		stays_unborn(o);
		return;
	}
	if (!is_nameless)
		doubt_settle(dir, &d->dir);
	name_of(name, (const char *)(d + 1), d->name_len);
	r = give_birth(o, dir, dirfd, d, name);
	if (r < 0 && errno == EEXIST && doubt_make_way(dirfd, name))
		r = give_birth(o, dir, dirfd, d, name);
	if (r < 0) {
		failed(o, "create");
		stays_unborn(o);
		return;
	}
	o->state = LIVE;
	o->caps = CAPS_NONE;
	/*
	 * The name is there before this effect has its number, and the new inode's own lock is not held: others may
	 * be changing its size and its links already. Nothing of it can be compared yet.
	 */
	object_take_attr(o, &d->child);
	o->links_sure = is_sure;
	o->size_sure = is_sure;
	doubt_inherited(o, dir);
	waiting_own(o);
	/* What it inherited may be older than this effect, and the directory's attributes are those of another effect. */
	if (is_nameless)
		apply_fsflags(o, &d->child);
	else
		take_dir(dir, &d->dir);
}

bool object_has_name(struct object *o, int dirfd, const char *name)
{
	struct object probe = { .fd = -1 };

	if (!o->handle_known && (o->fd < 0 || object_learn_handle(o, o->fd, "") < 0))
		return false;
	return object_learn_handle(&probe, dirfd, name) == 0 && probe.h_ino == o->h_ino &&
	       probe.h_gen == o->h_gen;
}

/*
 * Strictly, and where effects were lost: does the name lead to the inode the
 * record means? Returns whether to go on.
 */
static bool check_name(struct object *o, int dirfd, const char *name)
{
	if ((!rp.strict && !rp.doubts) || object_has_name(o, dirfd, name))
		return true;
	mismatch(o, "the name", "leads to this inode", "it does not", ENOENT);
	return !rp.doubts;
}

void apply_link(const struct lemona_dentry *d, struct object *o)
{
	char name[NAME_MAX + 1];
	struct object *dir;
	int dirfd, fd, r;

	dirfd = dir_fd(&dir, &d->dir);
	if (dirfd < 0) {
		doubt_attributes_only(&d->e);
		return;
	}
	fd = object_fd(o, ACCESS_PATH);
	if (fd < 0) {
		failed(o, "open to link");
		return;
	}
	doubt_settle(o, &d->child);
	doubt_settle(dir, &d->dir);
	name_of(name, (const char *)(d + 1), d->name_len);
	UNLOCKED(r, linkat(fd, "", dirfd, name, AT_EMPTY_PATH), o, dir, NULL);
	if (r < 0 && errno == EEXIST && doubt_make_way(dirfd, name))
		r = linkat(fd, "", dirfd, name, AT_EMPTY_PATH);
	if (r < 0)
		failed(o, "link");
	object_pin(o, false);
	object_take_attr(o, &d->child);
	take_dir(dir, &d->dir);
	check_strictly(o);
}

void apply_unlink(const struct lemona_dentry *d, struct object *o)
{
	bool is_dir = d->e.h.code == LEMONA_OP_RMDIR;
	char name[NAME_MAX + 1];
	struct object *dir;
	int dirfd, r = 0;
	bool is_there;

	dirfd = dir_fd(&dir, &d->dir);
	if (dirfd < 0) {
		doubt_attributes_only(&d->e);
		return;
	}
	name_of(name, (const char *)(d + 1), d->name_len);
	is_there = check_name(o, dirfd, name);
	if (o->links_sure && o->attr_seq < rp.current_seq && !is_dir && o->attr.nlink != d->child.nlink + 1)
		mismatch_number(o, "links before", d->child.nlink + 1ull, o->attr.nlink);
	/* Closed first, so that the inode goes at once. */
	if (is_dir || d->child.nlink == 0)
		object_close(o);
	if (is_there)
		UNLOCKED(r, unlinkat(dirfd, name, is_dir ? AT_REMOVEDIR : 0), dir, o, NULL);
	if (r < 0 && errno == ENOTEMPTY && doubt_make_way(dirfd, name)) {
		o->doubt |= LEMONA_LOST_PLACE;
		r = 0;
	}
	if (r < 0)
		failed(o, is_dir ? "rmdir" : "unlink");
	if (is_dir || d->child.nlink == 0)
		object_die(o);
	else
		object_take_attr(o, &d->child);
	take_dir(dir, &d->dir);
}

void apply_rename(const struct lemona_rename *n, struct object *o)
{
	struct object *from, *to, *target = NULL;
	char old[NAME_MAX + 1], new[NAME_MAX + 1];
	int from_fd, to_fd, r = 0;
	bool replaced, is_there;

	from_fd = dir_fd(&from, &n->old_dir);
	to_fd = from_fd < 0 ? -1 : dir_fd(&to, &n->new_dir);
	if (to_fd < 0) {
		doubt_attributes_only(&n->e);
		return;
	}
	if (n->target.ino) {
		target = object_get(n->target.ino, n->target.gen);
		if (target->state != LIVE)
			mismatch(target, "target of the rename", "exists", "does not", ENOENT);
	}
	doubt_settle(o, &n->source);
	doubt_settle(from, &n->old_dir);
	doubt_settle(to, &n->new_dir);
	if (target)
		doubt_settle(target, &n->target);
	name_of(old, (const char *)(n + 1), n->old_len);
	name_of(new, (const char *)(n + 1) + n->old_len, n->new_len);
	is_there = check_name(o, from_fd, old);
	if (target && target->state == LIVE)
		check_name(target, to_fd, new);
	replaced = target && !(n->flags & RENAME_EXCHANGE) &&
		   (n->target.nlink == 0 || S_ISDIR(n->target.mode));
	if (replaced)
		object_close(target);
	/* The whiteout is a birth of its own: TAINT says if it is not recorded. */
	if (is_there)
		UNLOCKED(r, renameat2(from_fd, old, to_fd, new, n->flags & ~RENAME_WHITEOUT),
			 o, from, to);
	else
		doubt_attributes_only(&n->e);
	if (r < 0 && (errno == EEXIST || errno == ENOTEMPTY || errno == EISDIR || errno == ENOTDIR) &&
	    doubt_make_way(to_fd, new))
		r = renameat2(from_fd, old, to_fd, new, n->flags & ~RENAME_WHITEOUT);
	if (r < 0 && (errno == EPERM || errno == EACCES) && target && object_unlock(target))
		r = renameat2(from_fd, old, to_fd, new, n->flags & ~RENAME_WHITEOUT);
	if (r < 0) {
		doubt_moved_above(o, to);
		if (target)
			doubt_moved_above(target, from);
		failed(o, "rename");
	}
	object_take_attr(o, &n->source);
	if (replaced)
		object_die(target);
	else if (target)
		object_take_attr(target, &n->target);
	/* A renamed directory's own lock is not held: others may be making names in it. */
	if (S_ISDIR(n->source.mode))
		o->links_sure = false;
	else
		check_strictly(o);
	if (target && S_ISDIR(n->target.mode))
		target->links_sure = false;
	take_dir(from, &n->old_dir);
	if (to != from)
		take_dir(to, &n->new_dir);
}
