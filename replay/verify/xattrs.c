// SPDX-License-Identifier: MIT
/* Extended attributes, ACLs among them. */
#include <stdlib.h>
#include <string.h>

#include "manifest.h"

struct xattrs {
	char **at;
	size_t count, room;
};

static int collect_xattr(char *name, char *value, size_t len, void *data)
{
	struct xattrs *all = data;
	struct text one = { 0 };

	if (strcmp(name, "system.data") == 0)
		return 0; /* inline content, hashed as such */
	put_escaped(&one, name, strlen(name));
	put(&one, "=");
	put_hex(&one, (unsigned char *)value, len);
	if (all->count == all->room) {
		all->room = all->room ? all->room * 2 : 16;
		all->at = realloc(all->at, all->room * sizeof(*all->at));
		if (!all->at)
			die(EXIT_ENVIRONMENT, "out of memory");
	}
	all->at[all->count++] = one.at;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void put_xattrs(ext2_ino_t ino)
{
	struct ext2_xattr_handle *handle;
	struct xattrs all = { 0 };
	size_t i;
	errcode_t error = ext2fs_xattrs_open(fs, ino, &handle);

	if (!error)
		error = ext2fs_xattrs_read(handle);
	if (!error)
		error = ext2fs_xattrs_iterate(handle, collect_xattr, &all);
	if (error)
		corrupt("reading its extended attributes", error);
	ext2fs_xattrs_close(&handle);
	qsort(all.at, all.count, sizeof(*all.at), by_text);
	for (i = 0; i < all.count; i++) {
		size_t len = strlen(all.at[i]);

		if (i)
			put(&line, ",");
		room_for(&line, len);
		memcpy(line.at + line.len, all.at[i], len + 1);
		line.len += len;
		free(all.at[i]);
	}
	free(all.at);
	if (!all.count)
		put(&line, "-");
}
