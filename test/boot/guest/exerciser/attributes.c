// SPDX-License-Identifier: MIT
/* Steps that change attributes. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/capability.h>
#include <linux/fs.h>

#include "exerciser.h"

static void do_chmod(void)
{
	char a[NAME_ROOM];

	if (below(8))
		try(chmod(name(a), below(010000)));
	else
		try(chmod(dir_name(a), 0700 | below(010000)));
}

static void do_chown(void)
{
	char a[NAME_ROOM];

	if (below(8))
		try(lchown(name(a), below(4) ? below(2000) : (unsigned int)-1, below(100000)));
	else
		try(chown(dir_name(a), below(3), below(3)));
}

static void do_xattr(void)
{
	static const char *const names[] = {
		"user.a", "user.b", "user.a-longer-name", "trusted.c", "security.d",
	};
	static const int flags[] = { 0, 0, XATTR_CREATE, XATTR_REPLACE };
	static const unsigned int most[] = { 30, 100, 1000, 4000 };
	char a[NAME_ROOM];

	memset(buf, 'a' + below(26), 4000);
	try(lsetxattr(name(a), names[below(5)], buf, below(most[below(4)]), flags[below(4)]));
}

static void do_remove_xattr(void)
{
	static const char *const names[] = {
		"user.a", "user.a-longer-name", "trusted.c", "system.posix_acl_access", "security.capability",
	};
	char a[NAME_ROOM];

	try(lremovexattr(name(a), names[below(5)]));
}

/* An ACL with some named users; folders hand it down. */
static void do_acl(void)
{
	enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, MASK = 16, OTHER = 32 };
	struct {
		uint32_t version;
		struct {
			uint16_t tag, perm;
			uint32_t id;
		} e[12];
	} acl = { .version = 2 };
	int named = below(8), i = 0, k;
	char a[NAME_ROOM];

	acl.e[i].tag = USER_OBJ;
	acl.e[i++].perm = below(8);
	for (k = 0; k < named; k++) {
		acl.e[i].tag = USER;
		acl.e[i].perm = below(8);
		acl.e[i++].id = 1000 + k;
	}
	acl.e[i].tag = GROUP_OBJ;
	acl.e[i++].perm = below(8);
	if (named) {
		acl.e[i].tag = MASK;
		acl.e[i++].perm = below(8);
	}
	acl.e[i].tag = OTHER;
	acl.e[i++].perm = below(8);
	for (k = 0; k < i; k++)
		if (acl.e[k].tag != USER)
			acl.e[k].id = 0xffffffff;
	if (below(3))
		try(setxattr(name(a), "system.posix_acl_access", &acl, 4 + i * 8, 0));
	else if (below(3))
		try(setxattr(dir_name(a), "system.posix_acl_default", &acl, 4 + i * 8, 0));
	else
		try(removexattr(dir_name(a), "system.posix_acl_default"));
}

static void do_capability(void)
{
	struct vfs_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_2, .data = { { .permitted = 1u << below(20) } },
	};
	char a[NAME_ROOM];

	try(lsetxattr(name(a), "security.capability", &caps, sizeof(caps), 0));
}

static void do_times(void)
{
	static const long special[] = { UTIME_NOW, UTIME_OMIT };
	struct timespec ts[2] = {
		{ .tv_sec = below(1u << 31), .tv_nsec = below(1000000000) },
		{ .tv_sec = below(2) ? -(int)below(1u << 31) : (long long)below(1u << 31) * 8,
		  .tv_nsec = below(1000000000) },
	};
	char a[NAME_ROOM];

	if (!below(3))
		ts[below(2)].tv_nsec = special[below(2)];
	try(utimensat(AT_FDCWD, below(6) ? name(a) : dir_name(a), ts, AT_SYMLINK_NOFOLLOW));
}

/* Immutable and append-only now and then, so that they get in the way, and go again. */
static void do_chattr(void)
{
	static const int some[] = {
		FS_SECRM_FL, FS_UNRM_FL, FS_COMPR_FL, FS_NODUMP_FL, FS_NOATIME_FL, FS_SYNC_FL,
		FS_NOTAIL_FL, FS_IMMUTABLE_FL, FS_APPEND_FL, FS_DAX_FL, FS_EOFBLOCKS_FL,
	};
	int flags, fd = open_some(O_RDONLY);

	if (fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
		flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL | FS_SYNC_FL);
		flags ^= some[below(below(3) ? 6 : 11)];
		try(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	}
	close(fd);
}

/* Whether content goes through the journal. */
static void do_journal_data(void)
{
	int flags, fd = open_some(O_RDONLY);

	if (fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
		flags ^= FS_JOURNAL_DATA_FL;
		try(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	}
	close(fd);
}

static void do_chattr_dir(void)
{
	static const int some[] = {
		FS_SECRM_FL, FS_NODUMP_FL, FS_NOATIME_FL, FS_DIRSYNC_FL, FS_TOPDIR_FL, FS_NOTAIL_FL,
		FS_JOURNAL_DATA_FL, FS_DAX_FL,
	};
	char a[NAME_ROOM];
	int flags, fd = open(dir_name(a), O_RDONLY);

	if (fd >= 0 && !ioctl(fd, FS_IOC_GETFLAGS, &flags)) {
		flags &= ~(FS_JOURNAL_DATA_FL | FS_DIRSYNC_FL);
		flags ^= some[below(8)];
		try(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	}
	close(fd);
}

static void do_project(void)
{
	struct fsxattr fsx;
	char a[NAME_ROOM];
	int fd = below(4) ? open_some(O_RDONLY) : open(dir_name(a), O_RDONLY);

	if (fd >= 0 && !ioctl(fd, FS_IOC_FSGETXATTR, &fsx)) {
		fsx.fsx_projid = below(3);
		fsx.fsx_xflags ^= below(2) ? FS_XFLAG_NODUMP : FS_XFLAG_PROJINHERIT;
		try(ioctl(fd, FS_IOC_FSSETXATTR, &fsx));
	}
	close(fd);
}

const struct step attribute_steps[] = {
	{ 2, "chmod", do_chmod }, { 2, "chown", do_chown }, { 3, "xattr", do_xattr },
	{ 1, "remove-xattr", do_remove_xattr }, { 2, "acl", do_acl }, { 1, "capability", do_capability },
	{ 2, "times", do_times }, { 2, "chattr", do_chattr }, { 1, "chattr-dir", do_chattr_dir },
	{ 1, "journal-data", do_journal_data }, { 1, "project", do_project }, { 0, NULL, NULL },
};
