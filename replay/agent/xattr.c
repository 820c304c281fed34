// SPDX-License-Identifier: MIT
/*
 * Extended attributes. Effects name them as ext4 does: a prefix index and the
 * rest. ACLs come in ext4's on-disk format and leave in the one setxattr()
 * wants.
 *
 *   ext4:  u32 version = 1, then entries u16 tag, u16 perm, and u32 id only
 *          for named users and groups
 *   posix: u32 version = 2, then entries u16 tag, u16 perm, u32 id, which is
 *          0xffffffff where there is none
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/limits.h>

#include "replay.h"

#define CAPABILITY "security.capability"
#define ACL_USER 0x02
#define ACL_GROUP 0x08

static const char * const prefixes[] = {
	[LEMONA_XATTR_USER] = "user.",
	[LEMONA_XATTR_ACL_ACCESS] = "system.posix_acl_access",
	[LEMONA_XATTR_ACL_DEFAULT] = "system.posix_acl_default",
	[LEMONA_XATTR_TRUSTED] = "trusted.",
	[LEMONA_XATTR_SECURITY] = "security.",
	[LEMONA_XATTR_SYSTEM] = "system.",
	[LEMONA_XATTR_GNU] = "gnu.",
};

static void put(unsigned char *to, uint32_t value, int bytes)
{
	while (bytes--) {
		*to++ = value;
		value >>= 8;
	}
}

/* Returns the bytes of the converted ACL, or -1. */
static ssize_t convert_acl(const unsigned char *from, size_t len, unsigned char *to, size_t room)
{
	const unsigned char *end = from + len;
	size_t at = 4;

	if (len < 4 || from[0] != 1 || from[1] || from[2] || from[3])
		return -1;
	put(to, 2, 4);
	for (from += 4; from < end; at += 8) {
		unsigned int tag;
		uint32_t id = 0xffffffff;

		if (end - from < 4 || at + 8 > room)
			return -1;
		tag = from[0] | from[1] << 8;
		memcpy(to + at, from, 4);
		from += 4;
		if (tag == ACL_USER || tag == ACL_GROUP) {
			if (end - from < 4)
				return -1;
			memcpy(&id, from, 4);
			from += 4;
		}
		put(to + at + 4, id, 4);
	}
	return at;
}

/* An attribute as the system calls want it. */
struct attribute {
	char name[XATTR_NAME_MAX + 32];
	const unsigned char *value;
	size_t len;
	bool is_removed, is_acl, is_caps;
};

/* Reads it from the record. Returns 0, or -1 with errno and *@what. */
static int attribute_of(const struct lemona_xattr *x, struct attribute *a, const char **what)
{
	static unsigned char acl[XATTR_SIZE_MAX];
	ssize_t len;

	if (x->name_index >= sizeof(prefixes) / sizeof(*prefixes) || !prefixes[x->name_index]) {
		*what = "xattr of an unknown name space";
		errno = EOPNOTSUPP;
		return -1;
	}
	a->is_acl = x->name_index == LEMONA_XATTR_ACL_ACCESS ||
		    x->name_index == LEMONA_XATTR_ACL_DEFAULT;
	a->is_removed = x->value_len == LEMONA_XATTR_REMOVED;
	a->value = (const unsigned char *)(x + 1) + x->name_len;
	a->len = a->is_removed ? 0 : x->value_len;
	snprintf(a->name, sizeof(a->name), "%s%.*s", prefixes[x->name_index],
		 a->is_acl ? 0 : x->name_len, (const char *)(x + 1));
	a->is_caps = strcmp(a->name, CAPABILITY) == 0;
	if (!a->is_acl || a->is_removed)
		return 0;
	len = convert_acl(a->value, a->len, acl, sizeof(acl));
	if (len < 0) {
		*what = "ACL in ext4's format";
		errno = EINVAL;
		return -1;
	}
	a->value = acl;
	a->len = len;
	return 0;
}

/*
 * Sets or removes one attribute. Returns 0, or -1 with errno and *@what.
 * An attribute that is to be removed may be gone already: the kernel itself
 * drops capabilities and ACLs along with other operations.
 */
int xattr_apply(struct object *o, const struct lemona_xattr *x, const char **what)
{
	struct attribute a;
	char path[40];
	int fd, r, attempt;

	if (attribute_of(x, &a, what) < 0)
		return -1;
	fd = object_fd(o, ACCESS_PATH);
	if (fd < 0) {
		*what = "open for xattr";
		return -1;
	}
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	for (attempt = 0; attempt < 2; attempt++) {
		r = a.is_removed ? removexattr(path, a.name) :
				   setxattr(path, a.name, a.value, a.len, 0);
		if (r == 0 || errno != EPERM || !object_unlock(o))
			break;
	}
	*what = a.is_removed ? "removexattr" : "setxattr";
	if (r < 0 && errno == ENODATA && a.is_removed && (a.is_acl || a.is_caps))
		r = 0;
	if (a.is_caps && r == 0)
		o->caps = a.is_removed ? CAPS_NONE : CAPS_SET;
	return r;
}

/*
 * Capabilities as the disk has them: getxattr() makes version 2 of version 3.
 * Without the driver it has to do. Returns their size, or -1 with errno.
 */
static ssize_t caps_read(int fd, unsigned char value[24])
{
	struct lemona_caps caps = { .fd = fd };
	char path[40];

	if (rp.lemona < 0) {
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		return getxattr(path, CAPABILITY, value, 24);
	}
	if (ioctl(rp.lemona, LEMONA_IOC_GETCAPS, &caps) < 0)
		return -1;
	memcpy(value, caps.value, sizeof(caps.value));
	return caps.size;
}

/* Strict only: the attribute reads back as the record has it. */
void xattr_check(struct object *o, const struct lemona_xattr *x)
{
	static unsigned char seen[XATTR_SIZE_MAX];
	struct attribute a;
	const char *what;
	char path[40];
	ssize_t len;
	int fd = object_fd(o, ACCESS_PATH);

	if (fd < 0 || attribute_of(x, &a, &what) < 0)
		return; /* applying it has said so */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	len = a.is_caps ? caps_read(fd, seen) : getxattr(path, a.name, seen, sizeof(seen));
	if (a.is_removed ? len >= 0 || errno != ENODATA :
			   len != (ssize_t)a.len || memcmp(seen, a.value, a.len))
		mismatch(o, a.name, a.is_removed ? "none after" : "the value after",
			 len < 0 ? strerror(errno) : "another value", len < 0 ? errno : 0);
}

/*
 * Writing and truncating remove file capabilities here, and need not have done
 * so there: a store through a mapping leaves them alone, and truncate() looks
 * for them before it has the inode's lock. What really removed them is an
 * effect of its own.
 */
void caps_keep(struct object *o, int fd, struct caps *c)
{
	c->size = -1;
	if (o->caps == CAPS_NONE)
		return;
	c->size = caps_read(fd, c->value);
	o->caps = c->size >= 0 ? CAPS_SET : CAPS_NONE;
}

/* Returns 0, or -1 with errno. */
int caps_give_back(int fd, const struct caps *c)
{
	return c->size >= 0 ? fsetxattr(fd, CAPABILITY, c->value, c->size, 0) : 0;
}

/* Whether chmod() would change more than the mode. */
bool has_acl(int fd)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return getxattr(path, prefixes[LEMONA_XATTR_ACL_ACCESS], NULL, 0) > 0;
}

/* Removes the ACL that a birth inherited. Returns 0, or -1 with errno. */
int acl_forget(struct object *o)
{
	int r = fremovexattr(o->fd, prefixes[LEMONA_XATTR_ACL_ACCESS]);

	return r < 0 && errno == ENODATA ? 0 : r;
}

/* chown() removes file capabilities, which belong to an older effect here. */
int chown_keeping_caps(int fd, uid_t uid, gid_t gid)
{
	unsigned char caps[24];
	char path[40];
	ssize_t size = caps_read(fd, caps);

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	return size >= 0 ? setxattr(path, CAPABILITY, caps, size, 0) : 0;
}
