// SPDX-License-Identifier: MIT
/*
 * Completes the file system: what the final pass of replay.h sets, and the
 * comparison of every touched inode with the record.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <linux/fs.h>

#include "replay.h"

#ifndef SYS_fchmodat2
#define SYS_fchmodat2 452
#endif

static bool stat_object(struct object *o, struct statx *st)
{
	int fd = object_fd(o, ACCESS_PATH);

	if (fd < 0 || statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_BASIC_STATS, st) < 0) {
		int error = errno;

		mismatch(o, "inode", "exists", strerror(error), error);
		return false;
	}
	return true;
}

static bool same(struct object *o, const char *when, const char *what, uint64_t wanted,
		 uint64_t seen)
{
	char text[80];

	if (wanted == seen)
		return true;
	snprintf(text, sizeof(text), "%s %s", what, when);
	mismatch_number(o, text, wanted, seen);
	return false;
}

static bool compare(struct object *o, const struct statx *st, const char *when)
{
	const struct lemona_attr *a = &o->attr;
	uint32_t rdev = (st->stx_rdev_minor & 0xff) | (st->stx_rdev_major << 8) |
			((st->stx_rdev_minor & ~0xffu) << 12);
	bool ok = same(o, when, "type", a->mode & S_IFMT, st->stx_mode & S_IFMT);

	/* A sample that was made without the lock may show what has a later number. */
	if (ok && (o->links_sure || !rp.midway))
		ok = same(o, when, "links", a->nlink, st->stx_nlink);
	if ((S_ISREG(a->mode) || S_ISLNK(a->mode)) && (o->size_sure || !rp.midway))
		ok = same(o, when, "size", a->size, st->stx_size) && ok;
	if (S_ISCHR(a->mode) || S_ISBLK(a->mode))
		ok = same(o, when, "device", a->rdev, rdev) && ok;
	return ok;
}

/* Compares the rebuilt inode with the last recorded attributes. */
bool object_check(struct object *o, const char *when)
{
	struct statx st;

	return stat_object(o, &st) && compare(o, &st, when);
}

static void finish_flags(struct object *o, int path_fd)
{
	char path[40];
	int fd, flags, wanted;

	o->flags_due = false;
	if (!S_ISREG(o->attr.mode) && !S_ISDIR(o->attr.mode))
		return;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", path_fd);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0) {
		mismatch(o, "read flags", "success", strerror(errno), errno);
	} else {
		wanted = (flags & ~(FS_IMMUTABLE_FL | FS_APPEND_FL)) |
			 (o->attr.flags & (FS_IMMUTABLE_FL | FS_APPEND_FL));
		if (wanted != flags && ioctl(fd, FS_IOC_SETFLAGS, &wanted) < 0)
			mismatch(o, "set flags", "success", strerror(errno), errno);
	}
	if (fd >= 0)
		close(fd);
}

/* @mode: 0, or what LEMONA_IOC_SETTIMES is to set as well */
static int set_times(struct object *o, int fd, uint32_t mode)
{
	const struct lemona_attr *a = &o->attr;
	struct lemona_settimes t = { .fd = fd, .mode = mode };

	if (rp.utimens) {
		struct timespec two[2] = {
			{ .tv_sec = a->sec[0], .tv_nsec = a->nsec[0] },
			{ .tv_sec = a->sec[1], .tv_nsec = a->nsec[1] },
		};

		return utimensat(fd, "", two, AT_EMPTY_PATH);
	}
	memcpy(t.sec, a->sec, sizeof(t.sec));
	memcpy(t.nsec, a->nsec, sizeof(t.nsec));
	return ioctl(rp.lemona, LEMONA_IOC_SETTIMES, &t);
}

static void finish_times(struct object *o, int fd)
{
	if (set_times(o, fd, 0) < 0)
		mismatch(o, "set times", "success", strerror(errno), errno);
}

/*
 * The ACL is as it was by now; chmod() would change it again. The two may differ: chmod() sets one after the other, and
 * there may be no room for the second.
 */
static int set_mode(struct object *o, int fd)
{
	uint32_t mode = o->attr.mode & 07777;

	if (!rp.utimens && has_acl(fd))
		return set_times(o, fd, mode | LEMONA_SETTIMES_MODE);
	return syscall(SYS_fchmodat2, fd, "", mode, AT_EMPTY_PATH);
}

/* Owner and mode as recorded; symbolic links have no mode of their own. */
static void finish_owner(struct object *o, int fd, const struct statx *st)
{
	const struct lemona_attr *a = &o->attr;
	bool chowned = st->stx_uid != a->uid || st->stx_gid != a->gid;

	if (chowned && chown_keeping_caps(fd, a->uid, a->gid) < 0)
		mismatch(o, "chown", "success", strerror(errno), errno);
	if (S_ISLNK(a->mode))
		return;
	/* chown() may have dropped set-id bits */
	if ((chowned || ((st->stx_mode ^ a->mode) & 07777)) && set_mode(o, fd) < 0)
		mismatch(o, "chmod", "success", strerror(errno), errno);
}

static void finish(struct object *o)
{
	struct statx st;
	int fd;

	if (!stat_object(o, &st))
		return;
	compare(o, &st, "at the end");
	fd = object_fd(o, ACCESS_PATH);
	if (st.stx_attributes & (STATX_ATTR_IMMUTABLE | STATX_ATTR_APPEND)) {
		object_unlock(o);
		link_del(&o->dirty); /* unlocking touched it; it is being finished */
	}
	finish_owner(o, fd, &st);
	/* LEMONA_IOC_SETTIMES comes last; utimensat() refuses immutable inodes */
	if (rp.utimens)
		finish_times(o, fd);
	if (o->flags_due)
		finish_flags(o, fd);
	if (!rp.utimens)
		finish_times(o, fd);
	rp.finished++;
}

/* Makes the disk what it was right after the last effect. */
void final_pass(void)
{
	uint64_t start = now_ns();

	/* Midway, a birth that something waits for may have a later number. */
	if (!rp.midway)
		waiting_give_up();
	while (!link_alone(&rp.dirty)) {
		struct object *o = container_of(rp.dirty.next, struct object, dirty);

		link_del(&o->dirty);
		finish(o);
	}
	rp.final_ns += now_ns() - start;
}

int fs_freeze(void)
{
	return ioctl(rp.root, FIFREEZE, 0);
}

int fs_thaw(void)
{
	return ioctl(rp.root, FITHAW, 0);
}
