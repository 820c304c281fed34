// SPDX-License-Identifier: MIT
/* Steps that change names. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "exerciser.h"

static void do_unlink(void)
{
	char a[NAME_ROOM];

	unlink(name(a));
}

static void do_rename(void)
{
	static const unsigned int flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	char a[NAME_ROOM], b[NAME_ROOM];

	try(renameat2(AT_FDCWD, name(a), AT_FDCWD, name(b), flags[below(4)]));
}

static void do_whiteout(void)
{
	static const unsigned int flags[] = { RENAME_WHITEOUT, RENAME_WHITEOUT | RENAME_NOREPLACE };
	char a[NAME_ROOM], b[NAME_ROOM];

	try(renameat2(AT_FDCWD, name(a), AT_FDCWD, name(b), flags[below(2)]));
}

static void do_link(void)
{
	char a[NAME_ROOM], b[NAME_ROOM];

	try(link(name(a), name(b)));
}

static void do_symlink(void)
{
	char a[NAME_ROOM], target[PAGE];
	size_t len = below(4) ? 1 + below(100) : 1 + below(sizeof(target) - 1);

	memset(target, 'a' + below(26), len);
	target[len] = 0;
	try(symlink(target, name(a)));
}

static void do_mknod(void)
{
	static const mode_t kinds[] = { S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	char a[NAME_ROOM];

	/* majors for local use: opening such a node reaches no device */
	try(mknod(name(a), kinds[below(4)] | below(01000), makedev(240 + below(15), below(1000))));
}

static const char *sub_dir(char *out)
{
	if (below(3))
		sprintf(out, "d%u/s%u", below(DIRS), below(4));
	else
		sprintf(out, "d%u/s%u/s%u", below(DIRS), below(4), below(4));
	return out;
}

static void do_dir(void)
{
	static const unsigned int flags[] = { 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	char a[NAME_ROOM], b[NAME_ROOM];

	switch (below(6)) {
	case 0:
	case 1:
		try(mkdir(sub_dir(a), 0700 + below(0100)));
		break;
	case 2:
		rmdir(sub_dir(a));
		break;
	case 3:
		try(renameat2(AT_FDCWD, sub_dir(a), AT_FDCWD, sub_dir(b), flags[below(3)]));
		break;
	case 4: /* a folder and a file change places */
		try(renameat2(AT_FDCWD, sub_dir(a), AT_FDCWD, name(b), flags[below(3)]));
		break;
	case 5: /* a file goes down or comes up */
		strcat((char *)sub_dir(a), "/f");
		if (below(2))
			try(rename(name(b), a));
		else
			try(rename(a, name(b)));
		break;
	}
}

/* Changes the access time, now and then. */
static void do_list(void)
{
	char a[NAME_ROOM];
	DIR *dir = opendir(below(2) ? dir_name(a) : sub_dir(a));

	while (dir && readdir(dir))
		;
	if (dir)
		closedir(dir);
}

const struct step name_steps[] = {
	{ 3, "unlink", do_unlink }, { 4, "rename", do_rename }, { 1, "whiteout", do_whiteout },
	{ 3, "link", do_link }, { 2, "symlink", do_symlink }, { 1, "mknod", do_mknod },
	{ 4, "dir", do_dir }, { 1, "list", do_list }, { 0, NULL, NULL },
};
