// SPDX-License-Identifier: MIT
/* Flags of chattr, project ids, set-id bits, times. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/fs.h>

#include "files.h"

static const int file_flags[] = {
	FS_SECRM_FL, FS_UNRM_FL, FS_COMPR_FL, FS_SYNC_FL, FS_NODUMP_FL, FS_NOATIME_FL,
	FS_JOURNAL_DATA_FL, FS_NOTAIL_FL, FS_IMMUTABLE_FL, FS_APPEND_FL,
};
static const int dir_flags[] = {
	FS_SECRM_FL, FS_UNRM_FL, FS_COMPR_FL, FS_SYNC_FL, FS_NODUMP_FL, FS_NOATIME_FL,
	FS_JOURNAL_DATA_FL, FS_NOTAIL_FL, FS_DIRSYNC_FL, FS_TOPDIR_FL, FS_IMMUTABLE_FL, FS_APPEND_FL,
};

static int add_flags(const char *name, int flags)
{
	return set_flags(name, get_flags(name) | flags);
}

static int drop_flags(const char *name, int flags)
{
	return set_flags(name, get_flags(name) & ~flags);
}

/* What is made in a folder with a flag has it too, if it is one of those. */
static void inherit(int flag)
{
	char dir[20], path[60];

	sprintf(dir, "d%x", flag);
	must(mkdir(dir, 0755));
	sprintf(path, "%s/before", dir);
	close(make_file(path, 10, 'b'));
	must(add_flags(dir, flag));
	if (flag == FS_IMMUTABLE_FL) {
		sprintf(path, "%s/refused", dir);
		refused(open(path, O_CREAT | O_WRONLY, 0644), EPERM);
		sprintf(path, "%s/before", dir);
		refused(unlink(path), EPERM);
		must(truncate(path, 5));
		return;
	}
	sprintf(path, "%s/file", dir);
	close(make_file(path, 5000, 'f'));
	must(truncate(path, 6000));
	sprintf(path, "%s/dir", dir);
	must(mkdir(path, 0700));
	sprintf(path, "%s/dir/file", dir);
	close(make_file(path, 1, 'f'));
	sprintf(path, "%s/link", dir);
	must(symlink("target", path));
	sprintf(path, "%s/fifo", dir);
	must(mkfifo(path, 0600));
	if (flag == FS_APPEND_FL) {
		sprintf(path, "%s/before", dir);
		refused(unlink(path), EPERM);
		refused(rename(path, "elsewhere"), EPERM);
	} else {
		must(drop_flags(dir, flag));
		sprintf(path, "%s/after", dir);
		close(make_file(path, 2, 'a'));
		if (flag != FS_TOPDIR_FL)
			must(add_flags(dir, flag | FS_NODUMP_FL));
	}
}

static void only_append(void)
{
	int fd = make_file("append", PAGE, 'a');

	must(setxattr("append", "user.before", "b", 1, 0));
	must(add_flags("append", FS_APPEND_FL));
	put_at(must(open("append", O_WRONLY | O_APPEND)), "at the end all the same", 23, 0);
	refused(open("append", O_WRONLY), EPERM);
	refused(truncate("append", 1), EPERM);
	refused(rename("append", "moved"), EPERM);
	refused(link("append", "second"), EPERM);
	refused(setxattr("append", "user.after", "a", 1, 0), EPERM);
	/* A file that was open before can still be written to. */
	put_at(fd, "anywhere", 8, 10);
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 5 * PAGE));
	close(fd);
}

static void no_change(void)
{
	int fd = make_file("immutable", PAGE, 'i');

	must(add_flags("immutable", FS_IMMUTABLE_FL | FS_NODUMP_FL));
	refused(open("immutable", O_WRONLY), EPERM);
	refused(unlink("immutable"), EPERM);
	refused(link("immutable", "second"), EPERM);
	refused(chmod("immutable", 0600), EPERM);
	refused(utimensat(AT_FDCWD, "immutable", NULL, 0), EPERM);
	close(fd);
	must(drop_flags("immutable", FS_IMMUTABLE_FL));
	must(rename("immutable", "was-immutable"));
	must(truncate("was-immutable", 9 * PAGE));
	must(add_flags("was-immutable", FS_IMMUTABLE_FL | FS_APPEND_FL));
}

void case_flags(void)
{
	char name[20];
	size_t i;

	for (i = 0; i < COUNT(file_flags); i++) {
		sprintf(name, "f%x", file_flags[i]);
		close(make_file(name, 100 * i, 'f'));
		must(add_flags(name, file_flags[i]));
		sprintf(name, "g%x", file_flags[i]);
		close(make_file(name, 100 * i, 'g'));
		must(add_flags(name, file_flags[i] | FS_NODUMP_FL));
		must(drop_flags(name, file_flags[i]));
	}
	for (i = 0; i < COUNT(dir_flags); i++)
		inherit(dir_flags[i]);
	/* A block map instead of one extent that is on the disk, and back. */
	close(make_file("mapped", PAGE, 'm'));
	close(make_file("back", PAGE, 'e'));
	sync();
	must(drop_flags("mapped", FS_EXTENT_FL));
	must(truncate("mapped", 20 * PAGE + 3));
	must(drop_flags("back", FS_EXTENT_FL));
	must(add_flags("back", FS_EXTENT_FL));
	only_append();
	no_change();
}

static int set_fsx(const char *name, unsigned int xflags, unsigned int project)
{
	int fd = must(open(name, O_RDONLY)), r;
	struct fsxattr fsx;

	must(ioctl(fd, FS_IOC_FSGETXATTR, &fsx));
	fsx.fsx_xflags = xflags;
	fsx.fsx_projid = project;
	r = ioctl(fd, FS_IOC_FSSETXATTR, &fsx);
	close(fd);
	return r;
}

/* Without the feature, ext4 sets the flags, and then refuses the project. */
void case_half_flags(void)
{
	close(make_file("whole", 10, 'w'));
	must(set_fsx("whole", FS_XFLAG_NODUMP | FS_XFLAG_NOATIME, 0));
	close(make_file("half", 10, 'h'));
	refused(set_fsx("half", FS_XFLAG_NODUMP | FS_XFLAG_SYNC, 5), EOPNOTSUPP);
	must(mkdir("half-dir", 0755));
	refused(set_fsx("half-dir", FS_XFLAG_NODUMP, 5), EOPNOTSUPP);
	holds(get_flags("half") & FS_NODUMP_FL);
}

void case_projects(void)
{
	static const unsigned int projects[] = { 1, 42, 65536, 4000000000u };
	char dir[20], path[60];
	size_t i;

	close(make_file("loose", 10, 'l'));
	must(set_fsx("loose", 0, 7));
	for (i = 0; i < COUNT(projects); i++) {
		sprintf(dir, "p%zu", i);
		must(mkdir(dir, 0755));
		must(set_fsx(dir, i == 3 ? 0 : FS_XFLAG_PROJINHERIT, projects[i]));
		sprintf(path, "%s/file", dir);
		close(make_file(path, 3000, 'p'));
		sprintf(path, "%s/dir", dir);
		must(mkdir(path, 0755));
		sprintf(path, "%s/dir/link", dir);
		must(symlink("x", path));
		sprintf(path, "%s/fifo", dir);
		must(mkfifo(path, 0600));
	}
	refused(rename("p0/file", "p1/moved"), EXDEV);
	refused(link("loose", "p0/linked"), EXDEV);
	must(set_fsx("p0/file", 0, 42));
	must(rename("p0/file", "p1/moved"));
	must(set_fsx("p2", 0, 0));
	close(make_file("p2/after", 1, 'a'));
	must(rename("loose", "p3/loose"));
}

void case_setids(void)
{
	static const mode_t modes[] = { 04755, 02755, 06755, 02745, 01755, 07777 };
	char name[20];
	size_t i;
	int fd;

	for (i = 0; i < COUNT(modes); i++) {
		sprintf(name, "written%zu", i);
		close(make_file(name, 100, 'w'));
		must(chown(name, 1000, 1000));
		must(chmod(name, modes[i]));
		fd = must(open(name, O_WRONLY));
		if (!must(fork())) {
			/* root keeps the bits; others lose them */
			must(setgid(1001));
			must(setuid(1001));
			put_at(fd, "x", 1, 50);
			_exit(0);
		}
		must(wait(NULL));
		close(fd);
		sprintf(name, "owned%zu", i);
		close(make_file(name, 100, 'o'));
		must(chmod(name, modes[i]));
		must(chown(name, 1000, 1000));
		sprintf(name, "cut%zu", i);
		close(make_file(name, 100, 'c'));
		must(chmod(name, modes[i]));
		must(chown(name, 1000, -1));
		must(chmod(name, modes[i]));
		if (!must(fork())) {
			must(setgid(1000));
			must(setuid(1000));
			must(truncate(name, 10));
			must(chmod(name, modes[i]));
			_exit(0);
		}
		must(wait(NULL));
		sprintf(name, "dir%zu", i);
		must(mkdir(name, 0777));
		must(chown(name, 1000, 1234));
		must(chmod(name, modes[i] | 2));
		strcat(name, "/inside");
		close(make_file(name, 1, 'i'));
		must(unlink(name));
		must(mkdir(name, 0755));
	}
}

void case_times(void)
{
	static const struct timespec extremes[] = {
		{ -2147483648ll, 0 }, { -2147483649ll, 5 }, { -1, 999999999 }, { 0, 0 }, { 0, 1 },
		{ 2147483647, 999999999 }, { 2147483648ll, 1 }, { 4294967296ll, 123456789 },
		{ 15032385535ll, 999999999 }, { 15032385536ll, 0 }, { 99999999999ll, 7 },
	};
	struct timespec two[2];
	char name[20];
	size_t i;

	for (i = 0; i < COUNT(extremes); i++) {
		sprintf(name, "t%zu", i);
		close(make_file(name, i, 't'));
		two[0] = extremes[i];
		two[1] = extremes[COUNT(extremes) - 1 - i];
		must(utimensat(AT_FDCWD, name, two, 0));
		two[i % 2].tv_nsec = UTIME_OMIT;
		two[1 - i % 2].tv_nsec = i % 3 ? UTIME_NOW : 42;
		strcat(name, "-again");
		must(symlink("x", name));
		must(utimensat(AT_FDCWD, name, two, AT_SYMLINK_NOFOLLOW));
		sprintf(name, "d%zu", i);
		must(mkdir(name, 0755));
		must(utimensat(AT_FDCWD, name, two, 0));
	}
	must(utimensat(AT_FDCWD, "t0", NULL, 0));
	two[0].tv_nsec = UTIME_OMIT;
	two[1].tv_nsec = UTIME_OMIT;
	must(utimensat(AT_FDCWD, "t1", two, 0));
	two[0].tv_nsec = UTIME_NOW;
	two[1].tv_nsec = UTIME_NOW;
	must(utimensat(AT_FDCWD, "t2", two, 0));
	two[0].tv_nsec = 1000000000;
	refused(utimensat(AT_FDCWD, "t3", two, 0), EINVAL);
}
