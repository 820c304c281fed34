// SPDX-License-Identifier: MIT
/* Overlays whose layers are on the traced disk; and file systems in memory on top of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ways.h"

static void make_lower(void)
{
	static const char *const dirs[] = { "lower", "upper", "work", "merged", "lower/d", "lower/d/e",
					    "lower/opaque", "lower/moved", "lower/moved/deep" };
	char name[64];

	for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++)
		need(mkdir(dirs[i], 0755));
	for (int i = 0; i < 12; i++) {
		snprintf(name, sizeof(name), "lower/%s%d", i % 3 ? "d/" : "", i);
		need(close(make_file(name, 1000 + 4000 * i)));
	}
	need(close(make_file("lower/opaque/inside", 100)));
	need(close(make_file("lower/moved/deep/inside", 100)));
	need(setxattr("lower/0", "user.low", "kept", 4, 0));
	need(link("lower/3", "lower/d/three"));
}

static void mount_overlay(const char *more)
{
	char options[160];

	snprintf(options, sizeof(options), "lowerdir=lower,upperdir=upper,workdir=work%s", more);
	need(mount("overlay", "merged", "overlay", 0, options));
	need(chdir("merged"));
}

static void write_into(const char *name, const char *text, off_t at)
{
	int fd = need(open(name, O_WRONLY));

	must(pwrite(fd, text, strlen(text), at) == (ssize_t)strlen(text));
	need(close(fd));
}

static void unmount(void)
{
	need(chdir(".."));
	need(umount("merged"));
}

WAY("overlay-change")
{
	int fd, mapped;
	char *map;

	make_lower();
	mount_overlay("");
	fd = make_file("new", 5000);
	need(fsync(fd));
	/* Copied up: by a write, a truncation, attributes, a link. */
	write_into("0", "changed", 500);
	need(truncate("6", 123));
	need(chmod("d/1", 0600));
	need(chown("d/2", 1000, 1000));
	need(setxattr("d/4", "user.up", "new", 3, 0));
	need(link("d/5", "five"));
	need(mkdir("d/e/new", 0700));
	need(symlink("../0", "d/link"));
	mapped = need(open("9", O_RDWR));
	map = map_file(mapped, 4 * PAGE);
	do {
		map[below(4 * PAGE)] = below(256);
		must(pwrite(fd, map, 100, below(5000)) == 100);
	} while (going());
	need(munmap(map, 4 * PAGE));
	need(close(mapped));
	need(close(fd));
	unmount();
}

WAY("overlay-delete")
{
	make_lower();
	mount_overlay("");
	need(unlink("0"));
	need(unlink("d/1"));
	/* Deleted below and made anew; and one that was copied up before. */
	need(unlink("d/2"));
	need(close(make_file("d/2", 77)));
	write_into("d/4", "x", 0);
	need(unlink("d/4"));
	/* The new folder hides the old one's content. */
	need(unlink("opaque/inside"));
	need(rmdir("opaque"));
	need(mkdir("opaque", 0750));
	need(close(make_file("opaque/fresh", 10)));
	unmount();
}

WAY("overlay-rename")
{
	make_lower();
	mount_overlay("");
	/* A whiteout is left where it was. */
	need(rename("3", "three"));
	need(rename("6", "d/7"));
	need(close(make_file("new", 50)));
	need(rename("new", "9"));
	/* A folder of the lower layer is not moved without a redirect. */
	must(rename("moved", "d/moved") < 0 && errno == EXDEV);
	unmount();
}

WAY("overlay-redirect")
{
	make_lower();
	mount_overlay(",redirect_dir=on,metacopy=on,index=on");
	need(rename("moved", "d/moved"));
	need(close(make_file("d/moved/deep/new", 40)));
	need(rename("d/moved/deep", "deep"));
	/* Attributes alone are copied, then the content as well. */
	need(chmod("0", 0611));
	need(chmod("d/8", 0611));
	write_into("d/8", "content", 9000);
	/* With an index, links stay links. */
	write_into("3", "both", 0);
	need(unlink("d/three"));
	unmount();
}

/* Changes that are in memory only: nothing of them may come to the disk. */
WAY("overlay-tmpfs")
{
	make_lower();
	need(mkdir("memory", 0755));
	need(mount("tmpfs", "memory", "tmpfs", 0, NULL));
	need(mkdir("memory/upper", 0755));
	need(mkdir("memory/work", 0755));
	need(mount("overlay", "merged", "overlay", 0,
		   "lowerdir=lower,upperdir=memory/upper,workdir=memory/work"));
	need(chdir("merged"));
	write_into("0", "changed", 500);
	need(unlink("3"));
	need(close(make_file("new", 500)));
	unmount();
	need(umount("memory"));
}

WAY("tmpfs")
{
	char *map;
	int fd;

	need(mkdir("m", 0755));
	need(close(make_file("m/covered", 100)));
	need(mount("tmpfs", "m", "tmpfs", 0, NULL));
	fd = make_file("m/covered", 20000);
	map = map_file(fd, 4 * PAGE);
	do {
		map[below(4 * PAGE)] = below(256);
		must(pwrite(fd, map, 99, below(20000)) == 99);
	} while (going());
	need(fchmod(fd, 0600));
	need(rename("m/covered", "m/other"));
	need(munmap(map, 4 * PAGE));
	need(close(fd));
	need(umount("m"));
	must(access("m/covered", F_OK) == 0);
}
