// SPDX-License-Identifier: MIT
/* All names of an image, in order. */
#include <stdlib.h>
#include <string.h>

#include "manifest.h"

struct name {
	char *bytes;
	unsigned int len;
	ext2_ino_t ino;
};

struct names {
	struct name *at;
	size_t count, room;
};

static int collect_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *d, int offset,
			int blocksize, char *buf, void *data)
{
	struct names *all = data;
	unsigned int len = ext2fs_dirent_name_len(d);
	struct name *n;

	(void)dir, (void)entry, (void)offset, (void)blocksize, (void)buf;
	if ((len == 1 && d->name[0] == '.') || (len == 2 && !memcmp(d->name, "..", 2)))
		return 0;
	if (all->count == all->room) {
		all->room = all->room ? all->room * 2 : 64;
		all->at = realloc(all->at, all->room * sizeof(*all->at));
	}
	if (!all->at)
		die(EXIT_ENVIRONMENT, "out of memory");
	n = &all->at[all->count++];
	n->bytes = malloc(len + 1);
	if (!n->bytes)
		die(EXIT_ENVIRONMENT, "out of memory");
	memcpy(n->bytes, d->name, len);
	n->bytes[len] = 0;
	n->len = len;
	n->ino = d->inode;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, x->len < y->len ? x->len : y->len);

	return order ? order : (int)x->len - (int)y->len;
}

/* One directory on the way down; its path is the first bytes of @path. */
struct level {
	struct names names;
	size_t next, path_len;
};

static struct level *levels;
static size_t depth, depth_room;

static void enter(ext2_ino_t dir)
{
	struct level *level;
	errcode_t error;

	/* More levels than inodes: a directory that holds itself. */
	if (depth >= fs->super->s_inodes_count)
		die(EXIT_CORRUPT, "%.200s: %zu directories deep", path.at, depth);
	if (depth == depth_room) {
		depth_room = depth_room ? depth_room * 2 : 64;
		levels = realloc(levels, depth_room * sizeof(*levels));
		if (!levels)
			die(EXIT_ENVIRONMENT, "out of memory");
	}
	level = &levels[depth++];
	*level = (struct level){ .path_len = path.len };
	error = ext2fs_dir_iterate2(fs, dir, 0, NULL, collect_name, &level->names);
	if (error)
		corrupt("reading the directory", error);
	qsort(level->names.at, level->names.count, sizeof(*level->names.at), by_bytes);
}

/* No recursion: a tree may be deeper than the stack. */
void walk(void)
{
	enter(EXT2_ROOT_INO);
	while (depth) {
		struct level *level = &levels[depth - 1];
		struct name *n;

		path.len = level->path_len;
		path.at[path.len] = 0;
		if (level->next == level->names.count) {
			free(level->names.at);
			depth--;
			continue;
		}
		n = &level->names.at[level->next++];
		room_for(&path, n->len + 1);
		path.at[path.len++] = '/';
		memcpy(path.at + path.len, n->bytes, n->len + 1);
		path.len += n->len;
		free(n->bytes);
		if (print_name(n->ino))
			enter(n->ino);
	}
}
