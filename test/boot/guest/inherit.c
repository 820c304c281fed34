// SPDX-License-Identifier: MIT
/*
 * Births in folders whose flags and project changed, and names that go there. The flags change after the file `now`
 * was made: the test loses these effects. Folder `on` gets a project that is handed down, folder `off` has one no more.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#define HANDED_DOWN (FS_XFLAG_PROJINHERIT | FS_XFLAG_NODUMP)

static void need(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
}

static void set_project(const char *name, unsigned int project, unsigned int flags)
{
	struct fsxattr fsx;
	int fd = open(name, O_RDONLY);

	need(fd, name);
	need(ioctl(fd, FS_IOC_FSGETXATTR, &fsx), "FSGETXATTR");
	fsx.fsx_projid = project;
	fsx.fsx_xflags = (fsx.fsx_xflags & ~HANDED_DOWN) | flags;
	need(ioctl(fd, FS_IOC_FSSETXATTR, &fsx), "FSSETXATTR");
	close(fd);
}

static void make_file(const char *name)
{
	need(close(creat(name, 0644)), name);
}

static void give_birth(const char *folder)
{
	need(chdir(folder), folder);
	make_file("file");
	need(mkdir("folder", 0755), "folder");
	need(mkfifo("fifo", 0644), "fifo");
	need(symlink("file", "symlink"), "symlink");
	need(mknod("device", S_IFCHR | 0600, 0xf001), "device");
	need(chdir(".."), "..");
}

int main(void)
{
	need(mkdir("on", 0755), "on");
	need(mkdir("off", 0755), "off");
	set_project("off", 7, HANDED_DOWN);
	make_file("seven");
	set_project("seven", 7, 0);
	make_file("none");
	make_file("moved");
	make_file("now");
	set_project("on", 7, HANDED_DOWN);
	set_project("off", 0, 0);
	give_birth("on");
	give_birth("off");
	/* Names do not lead from one project to another. */
	need(link("seven", "on/linked"), "on/linked");
	need(link("none", "off/linked"), "off/linked");
	need(rename("moved", "off/moved"), "off/moved");
	return 0;
}
