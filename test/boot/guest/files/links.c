// SPDX-License-Identifier: MIT
/* Hard links, symbolic links, nodes that are no files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"

#define WEB_DIRS 6
#define WEB_FILES 8
#define TARGET_MAX 4095

/* Every file has a name in every folder; then the web is torn and tied again. */
void case_links(void)
{
	char a[32], b[32];
	int d, f, fd;

	for (d = 0; d < WEB_DIRS; d++) {
		sprintf(a, "d%d", d);
		must(mkdir(a, 0755));
	}
	for (f = 0; f < WEB_FILES; f++) {
		sprintf(a, "d0/f%d", f);
		close(make_file(a, 100 * f, 'a' + f));
		for (d = 1; d < WEB_DIRS; d++) {
			sprintf(b, "d%d/g%d", d, (f + d) % WEB_FILES);
			must(link(a, b));
		}
	}
	for (d = 1; d < WEB_DIRS; d++) {
		sprintf(a, "d%d/g%d", d, d);
		sprintf(b, "d%d/g%d", d - 1, d - 1);
		if (d == 1)
			strcpy(b, "d0/f0");
		must(rename(a, b));
		sprintf(a, "d%d/g%d", d, (d + 3) % WEB_FILES);
		fd = must(open(a, O_WRONLY | O_APPEND));
		holds(write(fd, "appended", 8) == 8);
		must(fchmod(fd, 0600 + d));
		close(fd);
	}
	/* Two names of one inode: rename() does nothing and says that it did. */
	must(link("d0/f5", "same"));
	must(rename("same", "d0/f5"));
	must(access("same", F_OK));
	must(unlink("d0/f1"));
	must(link("d1/g2", "d0/f1"));
	refused(link("d0", "dir"), EPERM);
}

void case_symlinks(void)
{
	static const int lengths[] = { 1, 58, 59, 60, 61, 255, 1000, 4000, TARGET_MAX };
	char target[TARGET_MAX + 2], name[32];
	size_t i;
	int k;

	for (i = 0; i < COUNT(lengths); i++) {
		pattern(target, lengths[i], i);
		for (k = 0; k < lengths[i]; k++)
			if (!target[k])
				target[k] = '/';
		target[lengths[i]] = 0;
		sprintf(name, "s%d", lengths[i]);
		must(symlink(target, name));
		must(lchown(name, 100 + i, 200 + i));
		must(lsetxattr(name, "trusted.of-a-link", target, lengths[i] > 900 ? 900 : lengths[i], 0));
		sprintf(target, "hard%zu", i);
		must(link(name, target));
		if (i % 2)
			must(unlink(name));
	}
	memset(target, 't', sizeof(target));
	target[TARGET_MAX + 1] = 0;
	refused(symlink(target, "too-long"), ENAMETOOLONG);
	must(symlink("self", "self"));
	must(rename("self", "s1"));
}

void case_nodes(void)
{
	static const struct {
		mode_t type;
		unsigned int major, minor;
	} nodes[] = {
		{ S_IFCHR, 1, 3 }, { S_IFCHR, 255, 255 }, { S_IFCHR, 256, 0 }, { S_IFCHR, 0, 256 },
		{ S_IFBLK, 240, 1 }, { S_IFBLK, 4095, 1048575 }, { S_IFBLK, 511, 65537 },
		{ S_IFCHR, 0, 0 }, { S_IFIFO, 0, 0 }, { S_IFSOCK, 0, 0 }, { S_IFREG, 0, 0 },
	};
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	char name[32], other[32];
	size_t i;
	int fd;

	umask(0);
	for (i = 0; i < COUNT(nodes); i++) {
		sprintf(name, "n%zu", i);
		must(mknod(name, nodes[i].type | (0777 - i * 9), makedev(nodes[i].major, nodes[i].minor)));
		must(chown(name, i, i * 1000));
		must(chmod(name, 07000 | (0100 + i)));
		must(setxattr(name, "trusted.node", name, i, 0));
		sprintf(other, "m%zu", i);
		must(link(name, other));
		if (i % 3 == 1)
			must(unlink(name));
		if (i % 3 == 2)
			must(rename(other, "last"));
	}
	strcpy(address.sun_path, "bound");
	fd = must(socket(AF_UNIX, SOCK_STREAM, 0));
	must(bind(fd, (struct sockaddr *)&address, sizeof(address)));
	must(rename("bound", "socket"));
	close(fd);
	/* What goes through a FIFO is no content of a file. */
	must(mkfifo("fifo", 0600));
	fd = must(open("fifo", O_RDWR));
	holds(write(fd, "nothing to keep", 15) == 15);
	close(fd);
}
