// SPDX-License-Identifier: MIT
/*
 * Folders that no file handle leads back to. ext4's lookup of ".." overlooks
 * it where a folder lives in its inode (inline_data), so that the kernel can't
 * connect such a folder once its dentry is gone, and refuses its handle. On a
 * disk with that feature all folders of the checkpoint are opened at the
 * start, and no folder is closed while it lasts.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"

/* Folders that are open and whose own folders are not yet. */
static struct object **waiting;
static size_t count, room;

static void wait_for_visit(struct object *o)
{
	if (count == room) {
		room = room ? room * 2 : 1024;
		waiting = realloc(waiting, room * sizeof(*waiting));
		if (!waiting)
			fatal("out of memory for %zu folders", room);
	}
	waiting[count++] = o;
}

static void open_folder(int dirfd, const char *name)
{
	int fd = openat(dirfd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct object *o;

	if (fd < 0)
		fatal("open folder %s: %s", name, strerror(errno));
	o = object_add_open(fd);
	if (!o)
		fatal("folder %s: %s", name, strerror(errno));
	wait_for_visit(o);
}

/* Opens what is in it, itself excepted. */
static void visit(int fd)
{
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *entry;

	if (!dir)
		fatal("read a folder: %s", strerror(errno));
	while ((entry = readdir(dir))) {
		if (entry->d_type == DT_DIR && strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
			open_folder(dirfd(dir), entry->d_name);
	}
	closedir(dir);
}

void folders_open(void)
{
	open_folder(rp.root, ".");
	while (count)
		visit(openat(waiting[--count]->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	free(waiting);
}
