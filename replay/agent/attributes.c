// SPDX-License-Identifier: MIT
/* Effects on an inode's attributes and size, and what is remembered of them. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "apply.h"

/* Flags that FS_IOC_SETFLAGS may change on ext4 and that do no harm at once. */
#define FLAGS_NOW (FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL | FS_SYNC_FL | FS_NODUMP_FL | \
		   FS_NOATIME_FL | FS_JOURNAL_DATA_FL | FS_NOTAIL_FL | FS_DIRSYNC_FL | \
		   FS_TOPDIR_FL | FS_EOFBLOCKS_FL | FS_DAX_FL | FS_PROJINHERIT_FL | FS_CASEFOLD_FL)
#define FLAGS_LATER (FS_IMMUTABLE_FL | FS_APPEND_FL)
/* How ext4 lays an inode out, which a rebuilt disk may do in another way. */
#define FLAGS_LAYOUT (FS_INDEX_FL | FS_EXTENT_FL | FS_HUGE_FILE_FL | FS_INLINE_DATA_FL)

static void copy_times(struct object *o, const struct lemona_attr *a)
{
	memcpy(o->attr.sec, a->sec, sizeof(a->sec));
	memcpy(o->attr.nsec, a->nsec, sizeof(a->nsec));
	if (o->times_seq < rp.current_seq)
		o->times_seq = rp.current_seq;
}

/*
 * Remembers the attributes an effect carries. A regular file's size is taken
 * only where the effect holds the lock that guards it: a sample of times may
 * fall between a write's number and its new size.
 */
static void take_attr(struct object *o, const struct lemona_attr *a, bool size_is_sure)
{
	struct lemona_attr before = o->attr;

	object_touch(o);
	if (rp.current_seq < o->attr_seq) {
		/* It waited for a birth, whose own sample of the size is worth less. */
		if (size_is_sure && !o->size_sure)
			o->attr.size = a->size;
		return;
	}
	o->attr_seq = rp.current_seq;
	if (o->have_attr && ((o->attr.mode ^ a->mode) & S_IFMT))
		mismatch_number(o, "type", a->mode & S_IFMT, o->attr.mode & S_IFMT);
	o->attr = *a;
	if (S_ISREG(a->mode) && !size_is_sure && o->have_attr)
		o->attr.size = before.size;
	o->have_attr = true;
	o->have_flags = true;
	o->links_sure = true;
	o->size_sure = size_is_sure || !S_ISREG(a->mode) || o->size_sure;
	/* an effect that waited for a birth may be older than a sample of times */
	copy_times(o, rp.current_seq < o->times_seq ? &before : a);
}

/*
 * A sample of times is taken without the inode's lock: its link count may be that of an unlink() which is under way
 * and whose effect has a later number. Only the times are taken from it.
 */
static void take_times(struct object *o, const struct lemona_attr *a)
{
	object_touch(o);
	if (rp.current_seq >= o->times_seq && rp.current_seq >= o->attr_seq)
		copy_times(o, a);
}

/* Strict only: an older effect, which waited for a birth, tells nothing about the inode now. */
void check_strictly(struct object *o)
{
	if (rp.strict && o->attr_seq == rp.current_seq)
		object_check(o, "after");
}

void object_take_attr(struct object *o, const struct lemona_attr *a)
{
	take_attr(o, a, true);
}

void take_dir(struct object *dir, const struct lemona_attr *a)
{
	take_attr(dir, a, true);
	check_strictly(dir);
}

static int truncate_keeping_caps(struct object *o, int fd, off_t size)
{
	struct caps caps;
	int r;

	caps_keep(o, fd, &caps);
	UNLOCKED(r, ftruncate(fd, size), o, NULL, NULL);
	return r < 0 ? r : caps_give_back(fd, &caps);
}

/* DAX and JOURNAL_DATA exclude one another, even as the flags before and after one call. */
static int set_flags(int fd, int flags)
{
	int neither = flags & ~(FS_DAX_FL | FS_JOURNAL_DATA_FL);

	if (ioctl(fd, FS_IOC_SETFLAGS, &flags) == 0)
		return 0;
	if (errno != EOPNOTSUPP || ioctl(fd, FS_IOC_SETFLAGS, &neither) < 0)
		return -1;
	return ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

void apply_fsflags(struct object *o, const struct lemona_attr *a)
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
		if (wanted != flags && set_flags(fd, wanted) < 0)
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

void apply_setattr(const struct lemona_setattr *s, struct object *o)
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

void apply_fallocate(const struct lemona_fallocate *f, struct object *o)
{
	int fd = object_fd(o, ACCESS_RW);
	int r = -1;

	/* One that the kernel had allowed may come after what makes the file immutable. */
	if (fd >= 0)
		UNLOCKED(r, fallocate(fd, f->mode, f->offset, f->len), o, NULL, NULL);
	if (r < 0)
		failed(o, "fallocate");
	if (f->mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE))
		doubt_shift(o);
	take_attr(o, &f->attr, true);
	check_strictly(o);
}

void apply_xattr(const struct lemona_xattr *x, struct object *o)
{
	const char *what = "xattr";

	if (xattr_apply(o, x, &what) < 0)
		failed(o, what);
	else if (rp.strict)
		xattr_check(o, x);
	take_attr(o, &x->attr, false);
}
