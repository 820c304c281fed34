// SPDX-License-Identifier: MIT
/* Applies one effect: see the rules in replay.h. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "replay.h"

#ifndef RENAME_EXCHANGE
#define RENAME_EXCHANGE 2
#define RENAME_WHITEOUT 4
#endif

/* Flags that FS_IOC_SETFLAGS may change on ext4 and that do no harm at once. */
#define FLAGS_NOW (FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL | FS_SYNC_FL | FS_NODUMP_FL | \
		   FS_NOATIME_FL | FS_JOURNAL_DATA_FL | FS_NOTAIL_FL | FS_DIRSYNC_FL | \
		   FS_TOPDIR_FL | FS_PROJINHERIT_FL | FS_CASEFOLD_FL)
#define FLAGS_LATER (FS_IMMUTABLE_FL | FS_APPEND_FL)
/* How ext4 lays an inode out, which a rebuilt disk may do in another way. */
#define FLAGS_LAYOUT (FS_INDEX_FL | FS_EXTENT_FL | FS_HUGE_FILE_FL | FS_INLINE_DATA_FL)

/* Bytes of effects that wait for a birth: it follows within moments, or never. */
#define HELD_MAX (64u << 20)

static void failed(struct object *o, const char *what)
{
	int error = errno;

	mismatch(o, what, "success", strerror(error), error);
}

/* Copies a string of the record, which is not terminated. */
static const char *name_of(char *to, const char *from, unsigned int len)
{
	memcpy(to, from, len);
	to[len] = 0;
	return to;
}

/* Runs @call; again without the immutable and append-only flags if they were in the way. */
#define UNLOCKED(result, call, a, b, c) do { \
	(result) = (call); \
	if ((result) < 0 && (errno == EPERM || errno == EACCES)) { \
		bool unlocked = object_unlock(a); \
		struct object *b_ = (b), *c_ = (c); \
		if (b_ && object_unlock(b_)) \
			unlocked = true; \
		if (c_ && object_unlock(c_)) \
			unlocked = true; \
		if (unlocked) \
			(result) = (call); \
	} \
} while (0)

/*
 * Remembers the attributes an effect carries. A regular file's size is taken
 * only where the effect holds the lock that guards it: a sample of times may
 * fall between a write's number and its new size.
 */
static void take_attr(struct object *o, const struct lemona_attr *a, bool size_is_sure)
{
	uint64_t size = o->attr.size;

	object_touch(o);
	if (rp.current_seq < o->attr_seq)
		return;
	o->attr_seq = rp.current_seq;
	if (o->have_attr && ((o->attr.mode ^ a->mode) & S_IFMT))
		mismatch_number(o, "type", a->mode & S_IFMT, o->attr.mode & S_IFMT);
	o->attr = *a;
	if (S_ISREG(a->mode) && !size_is_sure && o->have_attr)
		o->attr.size = size;
	o->have_attr = true;
	o->have_flags = true;
}

/*
 * A sample of times is taken without the inode's lock: its link count may be that of an unlink() which is under way
 * and whose effect has a later number. Only the times are taken from it.
 */
static void take_times(struct object *o, const struct lemona_attr *a)
{
	object_touch(o);
	if (rp.current_seq < o->attr_seq)
		return;
	memcpy(o->attr.sec, a->sec, sizeof(a->sec));
	memcpy(o->attr.nsec, a->nsec, sizeof(a->nsec));
}

/* Strict only: an older effect, which waited for a birth, tells nothing about the inode now. */
static void check_strictly(struct object *o)
{
	if (rp.strict && o->attr_seq == rp.current_seq)
		object_check(o, "after");
}

void object_take_attr(struct object *o, const struct lemona_attr *a)
{
	take_attr(o, a, true);
}

static void take_dir(struct object *dir, const struct lemona_attr *a)
{
	take_attr(dir, a, true);
	check_strictly(dir);
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

static void apply_fsflags(struct object *o, const struct lemona_attr *a);

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

static void apply_birth(const struct lemona_dentry *d)
{
	const struct lemona_effect *e = &d->e;
	struct object *o = object_find(e->ino, e->gen), *dir;
	char name[NAME_MAX + 1];
	int dirfd, r;

	if (o && o->state == LIVE) {
		mismatch(o, "birth", "a new inode", "an inode that exists", EEXIST);
		return;
	}
	/* An inode number comes back with its old generation only by chance. */
	if (o && o->state == DEAD) {
		object_free(o);
		o = NULL;
	}
	dirfd = dir_fd(&dir, &d->dir);
	if (dirfd < 0) {
		if (rp.doubts)
			object_get(e->ino, e->gen)->doubt = LEMONA_LOST_ALL;
		return;
	}
	if (!o)
		o = object_add_dead(e->ino, e->gen);
	name_of(name, (const char *)(d + 1), d->name_len);
	r = give_birth(o, dir, dirfd, d, name);
	if (r < 0 && errno == EEXIST && doubt_make_way(dirfd, name))
		r = give_birth(o, dir, dirfd, d, name);
	if (r < 0) {
		failed(o, "create");
		return;
	}
	o->state = LIVE;
	o->caps = CAPS_NONE;
	/*
	 * The name is there before this effect has its number, and the new inode's own lock is not held: others may
	 * be changing its size and its links already. Nothing of it can be compared yet.
	 */
	take_attr(o, &d->child, true);
	if (rp.doubts && doubt_inherited(o, dir))
		apply_fsflags(o, &d->child);
	object_born(o);
	/*
	 * A nameless file is made without its directory's lock: what it inherited may be older than this effect, and
	 * the directory's attributes are those of another effect.
	 */
	if (e->h.code == LEMONA_OP_TMPFILE)
		apply_fsflags(o, &d->child);
	else
		take_dir(dir, &d->dir);
}

/* Does the name lead to the inode? */
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

static void apply_link(const struct lemona_dentry *d, struct object *o)
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
	name_of(name, (const char *)(d + 1), d->name_len);
	UNLOCKED(r, linkat(fd, "", dirfd, name, AT_EMPTY_PATH), o, dir, NULL);
	if (r < 0 && errno == EEXIST && doubt_make_way(dirfd, name))
		r = linkat(fd, "", dirfd, name, AT_EMPTY_PATH);
	if (r < 0)
		failed(o, "link");
	object_pin(o, false);
	take_attr(o, &d->child, true);
	take_dir(dir, &d->dir);
	check_strictly(o);
}

static void apply_unlink(const struct lemona_dentry *d, struct object *o)
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
	if (o->have_attr && o->attr_seq < rp.current_seq && !is_dir && o->attr.nlink != d->child.nlink + 1)
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
		take_attr(o, &d->child, true);
	take_dir(dir, &d->dir);
}

static void apply_rename(const struct lemona_rename *n, struct object *o)
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
	if (r < 0)
		failed(o, "rename");
	take_attr(o, &n->source, true);
	if (replaced)
		object_die(target);
	else if (target)
		take_attr(target, &n->target, true);
	/* A renamed directory's own lock is not held: others may be making names in it. */
	if (!S_ISDIR(n->source.mode))
		check_strictly(o);
	take_dir(from, &n->old_dir);
	if (to != from)
		take_dir(to, &n->new_dir);
}

static int truncate_keeping_caps(struct object *o, int fd, off_t size)
{
	struct caps caps;
	int r;

	caps_keep(o, fd, &caps);
	UNLOCKED(r, ftruncate(fd, size), o, NULL, NULL);
	return r < 0 ? r : caps_give_back(fd, &caps);
}

/* Flags other than immutable and append-only, and the project: children inherit them. */
static void apply_fsflags(struct object *o, const struct lemona_attr *a)
{
	struct fsxattr fsx;
	int fd, flags, wanted, proc_ok;
	char path[40];

	o->flags_due = true;
	if (!S_ISREG(a->mode) && !S_ISDIR(a->mode))
		return;
	object_unlock(o);
	fd = object_fd(o, ACCESS_PATH);
	if (fd < 0) {
		failed(o, "open for flags");
		return;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	proc_ok = fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0;
	if (!proc_ok) {
		failed(o, "read flags");
	} else {
		wanted = (flags & ~FLAGS_NOW) | (a->flags & FLAGS_NOW);
		if (wanted != flags && ioctl(fd, FS_IOC_SETFLAGS, &wanted) < 0)
			failed(o, "set flags");
		if (rp.strict && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0 &&
		    ((flags ^ a->flags) & ~(FLAGS_LATER | FLAGS_LAYOUT)))
			mismatch_number(o, "flags after", a->flags, flags);
		if (ioctl(fd, FS_IOC_FSGETXATTR, &fsx) == 0 && fsx.fsx_projid != a->projid) {
			fsx.fsx_projid = a->projid;
			if (ioctl(fd, FS_IOC_FSSETXATTR, &fsx) < 0)
				failed(o, "set project");
		}
	}
	if (fd >= 0)
		close(fd);
}

static void apply_setattr(const struct lemona_setattr *s, struct object *o)
{
	bool resize = (s->valid & LEMONA_VALID_SIZE) && S_ISREG(s->attr.mode);

	if (resize) {
		int fd = object_fd(o, ACCESS_RW);

		if (fd < 0 || truncate_keeping_caps(o, fd, s->attr.size) < 0)
			failed(o, "truncate");
	}
	if (s->valid)
		take_attr(o, &s->attr, resize);
	else
		take_times(o, &s->attr);
	if (s->valid & LEMONA_VALID_FSFLAGS)
		apply_fsflags(o, &s->attr);
}

static void apply_fallocate(const struct lemona_fallocate *f, struct object *o)
{
	int fd = object_fd(o, ACCESS_RW);

	if (fd < 0 || fallocate(fd, f->mode, f->offset, f->len) < 0)
		failed(o, "fallocate");
	if (f->mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		doubt_shift(o);
	take_attr(o, &f->attr, true);
	check_strictly(o);
}

static void apply_xattr(const struct lemona_xattr *x, struct object *o)
{
	const char *what = "xattr";

	if (xattr_apply(o, x, &what) < 0)
		failed(o, what);
	else if (rp.strict)
		xattr_check(o, x);
	take_attr(o, &x->attr, false);
}

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

/* Smallest size of each operation's record; 0: not an effect on an inode. */
static const uint16_t least[] = {
	[LEMONA_OP_WRITE] = sizeof(struct lemona_write),
	[LEMONA_OP_PAGE] = sizeof(struct lemona_write),
	[LEMONA_OP_SETATTR] = sizeof(struct lemona_setattr),
	[LEMONA_OP_CREATE] = sizeof(struct lemona_dentry),
	[LEMONA_OP_MKNOD] = sizeof(struct lemona_dentry),
	[LEMONA_OP_MKDIR] = sizeof(struct lemona_dentry),
	[LEMONA_OP_SYMLINK] = sizeof(struct lemona_dentry),
	[LEMONA_OP_TMPFILE] = sizeof(struct lemona_dentry),
	[LEMONA_OP_LINK] = sizeof(struct lemona_dentry),
	[LEMONA_OP_UNLINK] = sizeof(struct lemona_dentry),
	[LEMONA_OP_RMDIR] = sizeof(struct lemona_dentry),
	[LEMONA_OP_RENAME] = sizeof(struct lemona_rename),
	[LEMONA_OP_FALLOCATE] = sizeof(struct lemona_fallocate),
	[LEMONA_OP_XATTR] = sizeof(struct lemona_xattr),
	[LEMONA_OP_GONE] = sizeof(struct lemona_effect),
	[LEMONA_OP_TAINT] = sizeof(struct lemona_taint),
};

/* The key of an object must not change: it is hashed. */
static bool same_inode(const struct lemona_attr *a, const struct lemona_effect *e)
{
	return a->ino == e->ino && a->gen == e->gen;
}

/* One component of a path that leads nowhere else: a name is looked up as it is. */
static bool is_name(const char *name, unsigned int len)
{
	if (!len || len > NAME_MAX || memchr(name, '/', len) || memchr(name, 0, len))
		return false;
	return len > 2 || memcmp(name, "..", len);
}

/* Do the lengths inside the record fit in it, and are its names such? */
static bool well_formed(const struct lemona_effect *e, uint32_t size)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;
	const struct lemona_xattr *x = (const void *)e;
	unsigned int names = 0, first = 0;
	const char *name;
	uint64_t tail = 0;

	if (size < least[e->h.code])
		return false;
	switch (e->h.code) {
	case LEMONA_OP_WRITE:
	case LEMONA_OP_PAGE:
		tail = ((const struct lemona_write *)e)->len;
		break;
	case LEMONA_OP_CREATE ... LEMONA_OP_RMDIR:
		if (!same_inode(&d->child, e))
			return false;
		tail = (uint64_t)d->name_len + d->extra_len;
		names = e->h.code == LEMONA_OP_TMPFILE ? 0 : 1;
		first = d->name_len;
		break;
	case LEMONA_OP_RENAME:
		if (!same_inode(&n->source, e))
			return false;
		tail = (uint64_t)n->old_len + n->new_len;
		names = 2;
		first = n->old_len;
		break;
	case LEMONA_OP_TAINT:
		tail = ((const struct lemona_taint *)e)->text_len;
		break;
	case LEMONA_OP_SETATTR:
		return same_inode(&((const struct lemona_setattr *)e)->attr, e);
	case LEMONA_OP_FALLOCATE:
		return same_inode(&((const struct lemona_fallocate *)e)->attr, e);
	case LEMONA_OP_XATTR:
		tail = (uint64_t)x->name_len +
		       (x->value_len == LEMONA_XATTR_REMOVED ? 0 : x->value_len);
		if (x->name_len > XATTR_NAME_MAX || !same_inode(&x->attr, e))
			return false;
		break;
	}
	if (tail > size - least[e->h.code])
		return false;
	name = (const char *)e + least[e->h.code];
	return (names < 1 || is_name(name, first)) && (names < 2 || is_name(name + first, n->new_len));
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
		if (dir->state != UNBORN)
			dir = object_get(n->new_dir.ino, n->new_dir.gen);
	}
	/* One whose birth was lost never comes. */
	if (!dir || dir->state != UNBORN || dir->doubt || rp.doubt_all)
		return false;
	hold_back(dir, e, size);
	return true;
}

static void apply_to_inode(const struct lemona_effect *e, uint32_t size)
{
	struct object *o = object_get(e->ino, e->gen);

	if (o->state == DEAD) {
		rp.unreachable++;
		return;
	}
	if (o->state == UNBORN && (o->doubt || rp.doubt_all)) {
		doubt_adrift(e, o);
		return;
	}
	if (o->state == UNBORN) {
		hold_back(o, e, size);
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
		if (waits_for_dir(e, size))
			break;
		if (e->h.code == LEMONA_OP_GONE)
			apply_gone(e);
		else if (e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_TMPFILE)
			apply_birth((const void *)e);
		else
			apply_to_inode(e, size);
		rp.applied++;
		break;
	default:
		mismatch(NULL, "opcode", "a known one", op_name(e->h.code), EINVAL);
	}
	rp.current_seq = outer_seq;
	mismatch_context(outer);
}
