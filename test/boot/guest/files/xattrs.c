// SPDX-License-Identifier: MIT
/* Extended attributes to their limits, ACLs that are inherited, capabilities. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/capability.h>

#include "files.h"

#define NAME_BYTES 255
#define VALUE_MOST 65536

static char value[VALUE_MOST + 1];

/* Adds attributes of @len bytes until there is no room; returns how many there are. */
static int fill_up(const char *file, const char *prefix, size_t len)
{
	char name[40];
	int i;

	for (i = 0;; i++) {
		sprintf(name, "%s%d", prefix, i);
		pattern(value, len, i);
		if (setxattr(file, name, value, len, 0)) {
			holds(errno == ENOSPC);
			return i;
		}
		holds(i < 10000);
	}
}

/* A name of every byte, on as many files as they need room. */
static void all_bytes(void)
{
	char file[20], name[20];
	int byte;

	for (byte = 1; byte < 256; byte++) {
		sprintf(file, "bytes%d", byte % 5);
		if (byte < 6)
			close(make_file(file, 1, 'b'));
		sprintf(name, "user.%c%c", byte, byte);
		must(setxattr(file, name, name, 7, 0));
		if (byte % 3 == 0)
			must(removexattr(file, name));
	}
}

static void long_names(void)
{
	char name[NAME_BYTES + 2];

	close(make_file("names", 1, 'n'));
	memset(name, 'x', sizeof(name));
	memcpy(name, "user.", 5);
	name[NAME_BYTES] = 0;
	must(setxattr("names", name, "", 0, 0));
	name[NAME_BYTES] = 'x';
	name[NAME_BYTES + 1] = 0;
	refused(setxattr("names", name, "", 0, 0), ERANGE);
	all_bytes();
}

void case_xattrs(void)
{
	static const char *const kinds[] = { "user.", "trusted.", "security.", "gnu." };
	char name[40];
	size_t i;

	for (i = 0; i < COUNT(kinds); i++) {
		sprintf(name, "full%zu", i);
		close(make_file(name, i, 'f'));
		holds(fill_up(name, kinds[i], 10 + 200 * i) > 3);
	}
	must(removexattr("full0", "user.1"));
	must(removexattr("full0", "user.7"));
	must(setxattr("full0", "user.fits", value, 3, XATTR_CREATE));
	refused(setxattr("full0", "user.0", value, 4000, XATTR_CREATE), EEXIST);
	refused(setxattr("full0", "user.0", value, 4000, 0), ENOSPC);
	/* One value grows out of the inode, into a block, and back. */
	close(make_file("grows", 1, 'g'));
	for (i = 0; i < 4000; i = i * 3 + 1) {
		pattern(value, i, i);
		must(setxattr("grows", "user.value", value, i, 0));
		must(setxattr("grows", "trusted.beside", value, i % 50, 0));
	}
	must(setxattr("grows", "user.value", value, 3, XATTR_REPLACE));
	refused(setxattr("grows", "user.none", value, 3, XATTR_REPLACE), ENODATA);
	/* The same block for many. */
	for (i = 0; i < 20; i++) {
		sprintf(name, "shares%zu", i);
		close(make_file(name, 1, 's'));
		pattern(value, 2000, 1);
		must(setxattr(name, "user.shared", value, 2000, 0));
		if (i % 4 == 0)
			must(setxattr(name, "user.shared", value, 1999, 0));
		if (i % 4 == 1)
			must(removexattr(name, "user.shared"));
	}
	must(mkdir("dir", 0755));
	holds(fill_up("dir", "user.", 300) > 3);
	must(symlink("nowhere", "link"));
	must(lsetxattr("link", "trusted.link", value, 1000, 0));
	refused(lsetxattr("link", "user.link", value, 1, 0), EPERM);
	long_names();
}

/* With the feature ea_inode a value may have an inode of its own. */
void case_big_xattrs(void)
{
	char name[40];
	int i;

	close(make_file("big", 10, 'b'));
	for (i = 0; i < 12; i++) {
		sprintf(name, "%s.big%d", i % 2 ? "user" : "trusted", i);
		pattern(value, VALUE_MOST, i % 4);
		must(setxattr("big", name, value, VALUE_MOST - i * 5000, 0));
	}
	refused(setxattr("big", "user.too-big", value, VALUE_MOST + 1, 0), E2BIG);
	must(setxattr("big", "user.big1", value, 10, XATTR_REPLACE));
	must(setxattr("big", "user.big3", value, 30000, XATTR_REPLACE));
	must(removexattr("big", "trusted.big4"));
	/* Equal values share an inode; one of them goes. */
	for (i = 0; i < 4; i++) {
		sprintf(name, "same%d", i);
		close(make_file(name, 1, 's'));
		pattern(value, 20000, 77);
		must(setxattr(name, "user.same", value, 20000, 0));
	}
	must(unlink("same1"));
	must(removexattr("same2", "user.same"));
}

#define ACL_ACCESS "system.posix_acl_access"
#define ACL_DEFAULT "system.posix_acl_default"
#define NOBODY 0xffffffffu

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

enum { USER_OBJ = 1, USER = 2, GROUP_OBJ = 4, GROUP = 8, MASK = 16, OTHER = 32 };

static void set_acl(const char *name, const char *kind, const struct acl_entry *entries, int count)
{
	struct {
		uint32_t version;
		struct acl_entry entries[64];
	} acl = { .version = 2 };

	memcpy(acl.entries, entries, count * sizeof(*entries));
	must(setxattr(name, kind, &acl, 4 + count * sizeof(*entries), 0));
}

static const struct acl_entry wide[] = {
	{ USER_OBJ, 7, NOBODY }, { USER, 5, 1000 }, { USER, 0, 70000 }, { GROUP_OBJ, 5, NOBODY },
	{ GROUP, 7, 8 }, { MASK, 7, NOBODY }, { OTHER, 4, NOBODY },
};
/* No more than the mode tells: leaves no attribute. */
static const struct acl_entry plain[] = {
	{ USER_OBJ, 6, NOBODY }, { GROUP_OBJ, 4, NOBODY }, { OTHER, 0, NOBODY },
};

static void inherit(const char *dir, mode_t mode, mode_t mask)
{
	struct acl_entry many[64];
	char path[80], from[40];
	int i, fd;

	umask(mask);
	sprintf(path, "%s/dir", dir);
	must(mkdir(path, mode));
	sprintf(path, "%s/dir/below", dir);
	close(must(open(path, O_CREAT | O_WRONLY, mode)));
	sprintf(path, "%s/fifo", dir);
	must(mkfifo(path, mode));
	sprintf(path, "%s/link", dir);
	must(symlink("x", path));
	fd = must(open(dir, O_TMPFILE | O_WRONLY, mode));
	put_at(fd, "nameless", 8, 0);
	sprintf(from, "/proc/self/fd/%d", fd);
	sprintf(path, "%s/tmpfile", dir);
	must(linkat(AT_FDCWD, from, AT_FDCWD, path, AT_SYMLINK_FOLLOW));
	close(fd);
	sprintf(path, "%s/file", dir);
	close(must(open(path, O_CREAT | O_WRONLY, mode)));
	must(chmod(path, 0701));
	must(chown(path, 5, 6));
	must(chmod(path, 06711));
	must(truncate(path, 10));
	/* Many named users: the ACL is larger than the inode has room for. */
	many[0] = wide[0];
	for (i = 1; i < 60; i++)
		many[i] = (struct acl_entry){ USER, i % 8, 1000 + i };
	memcpy(many + 60, wide + 3, 1 * sizeof(*wide));
	many[61] = (struct acl_entry){ MASK, 3, NOBODY };
	many[62] = (struct acl_entry){ OTHER, 1, NOBODY };
	sprintf(path, "%s/many", dir);
	close(must(open(path, O_CREAT | O_WRONLY, mode)));
	set_acl(path, ACL_ACCESS, many, 63);
	must(chmod(path, 0640));
	umask(022);
}

void case_acls(void)
{
	char name[20];
	int i;

	for (i = 0; i < 4; i++) {
		sprintf(name, "d%d", i);
		must(mkdir(name, 0755));
		set_acl(name, ACL_DEFAULT, i == 3 ? plain : wide, i == 3 ? COUNT(plain) : COUNT(wide));
		if (i == 2)
			set_acl(name, ACL_ACCESS, wide, COUNT(wide));
		inherit(name, i == 1 ? 06777 : 0640 + i, i == 1 ? 0 : 027);
	}
	must(removexattr("d0", ACL_DEFAULT));
	must(mkdir("d0/after", 0777));
	set_acl("d1/file", ACL_ACCESS, plain, COUNT(plain));
	must(removexattr("d1/many", ACL_ACCESS));
	must(rename("d2/dir", "d3/moved"));
	must(mkdir("d3/moved/inherits", 0775));
	/* Only folders hand something down. */
	refused(setxattr("d1/file", ACL_DEFAULT, "\2\0\0\0\1\0\7\0\377\377\377\377", 12, 0), EACCES);
}

static void set_capability(const char *name)
{
	struct vfs_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE,
		.data = { { .permitted = 1u << CAP_NET_RAW } },
	};

	must(setxattr(name, "security.capability", &caps, sizeof(caps), 0));
}

/* As `unshare -Ur setcap` of root makes it: getxattr() will say that it is of version 2. */
static void set_capability_of_root(const char *name)
{
	struct vfs_ns_cap_data caps = {
		.magic_etc = VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE,
		.data = { { .permitted = 1u << CAP_NET_RAW } },
	};

	must(setxattr(name, "security.capability", &caps, sizeof(caps), 0));
}

static int has_capability(const char *name)
{
	return getxattr(name, "security.capability", NULL, 0) > 0;
}

void case_capabilities(void)
{
	static const char *const names[] = { "kept", "written", "cut", "owned", "mapped", "allocated", "renamed", "mode" };
	static const char *const of_root[] = { "owned-3", "mapped-3", "mode-3" };
	char *map;
	size_t i;
	int fd;

	for (i = 0; i < COUNT(names); i++) {
		close(make_file(names[i], 2 * PAGE, 'c'));
		set_capability(names[i]);
		must(setxattr(names[i], "user.beside", "b", 1, 0));
	}
	fd = must(open("written", O_WRONLY));
	put_at(fd, "w", 1, 5);
	put_at(fd, "w", 1, 9000);
	close(fd);
	must(truncate("cut", 100));
	must(chown("owned", 3, -1));
	fd = must(open("mapped", O_RDWR));
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	holds(map != MAP_FAILED);
	map[10] = 'm';
	must(msync(map, PAGE, MS_SYNC));
	must(munmap(map, PAGE));
	close(fd);
	fd = must(open("allocated", O_WRONLY));
	must(fallocate(fd, 0, 0, 5 * PAGE));
	close(fd);
	must(rename("renamed", "new-name"));
	must(chmod("mode", 0755));
	holds(has_capability("kept") && has_capability("mapped") && has_capability("new-name"));
	holds(!has_capability("written") && !has_capability("cut") && !has_capability("owned"));
	/* Set again, and written through a mapping and a call in turn. */
	set_capability("written");
	must(chown("kept", 0, 0));
	set_capability("kept");
	must(chmod("kept", 04755));
	set_capability("cut");
	must(removexattr("cut", "security.capability"));
	for (i = 0; i < COUNT(of_root); i++) {
		close(make_file(of_root[i], PAGE, 'c'));
		must(chown(of_root[i], 3, 4));
		set_capability_of_root(of_root[i]);
	}
	fd = must(open("mapped-3", O_RDWR));
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	holds(map != MAP_FAILED);
	map[10] = 'm';
	must(munmap(map, PAGE));
	close(fd);
	must(chmod("mode-3", 0755));
}
