// SPDX-License-Identifier: MIT
/* Whether a record of the plan can be believed. */
#include <limits.h>
#include <linux/limits.h>
#include <string.h>

#include "apply.h"

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

bool well_formed(const struct lemona_effect *e, uint32_t size)
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
		if (e->h.code == LEMONA_OP_TMPFILE)
			return !tail;
		names = 1;
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
