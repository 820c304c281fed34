// SPDX-License-Identifier: MIT
/* No room: on the disk, in a quota, or on a disk that fails. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fs.h>

#include "files.h"

#define MIB (1 << 20)

/* Takes all of the disk but @left bytes with one file. */
static int fill_disk(const char *name, off_t left)
{
	int fd = make_file(name, 0, 0);
	off_t size = 0, step = 64 * MIB;

	while (step >= PAGE) {
		if (fallocate(fd, 0, size, step)) {
			holds(errno == ENOSPC);
			step /= 2;
		} else {
			size += step;
		}
	}
	must(ftruncate(fd, size - left));
	return fd;
}

/* Writes until there is no room, byte counts as they come. */
static off_t write_until_full(int fd, size_t chunk, int error)
{
	static char data[MIB];
	off_t at = 0;
	ssize_t n;

	holds(chunk <= sizeof(data));
	for (;;) {
		pattern(data, chunk, at);
		n = pwrite(fd, data, chunk, at);
		if (n < 0) {
			holds(errno == error);
			return at;
		}
		at += n;
		holds(at < 1000ll * MIB);
	}
}

void case_full(void)
{
	int filler, fd, other, i, made;
	char name[256];

	close(make_file("small", 10 * PAGE, 's'));
	filler = fill_disk("filler", 3 * MIB);
	fd = make_file("half-way", 0, 0);
	holds(write_until_full(fd, 300000, ENOSPC) > PAGE);
	refused(pwrite(fd, "x", 1, 40ll * MIB), ENOSPC);
	/* Old blocks can be written to on a full disk. */
	put_at(fd, "over the old", 12, PAGE - 5);
	put_at(fd, "in the last page", 16, lseek(fd, 0, SEEK_END) - 16);
	refused(fallocate(fd, 0, 0, 60 * MIB), ENOSPC);
	for (made = 0; made < 3000; made++) {
		sprintf(name, "%0200d", made);
		if (mkdir(name, 0755)) {
			holds(errno == ENOSPC);
			break;
		}
	}
	/* Room again, in the middle of others. */
	must(fallocate(filler, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, MIB + 100, 2 * MIB));
	other = make_file("second", 0, 0);
	holds(write_until_full(other, 5000, ENOSPC) > PAGE);
	for (i = 0; i < made; i += 2) {
		sprintf(name, "%0200d", i);
		must(rmdir(name));
	}
	must(unlink("second"));
	must(ftruncate(fd, 100));
	put_at(other, "deleted, and full", 17, 5);
	must(ftruncate(filler, MIB));
	close(other);
	other = make_file("third", 3 * MIB, 't');
	close(other);
	close(fd);
	close(filler);
	must(unlink("filler"));
	must(rename("third", "small"));
}

static sigjmp_buf no_page;

static void on_bus(int signal)
{
	siglongjmp(no_page, signal);
}

/* A store into a hole of a full disk has no block to go to. */
void case_full_mapped(void)
{
	int filler, fd = make_file("holes", 2 * PAGE, 'h');
	volatile int stored = 0;
	char *map;

	must(ftruncate(fd, 16 * MIB));
	filler = fill_disk("filler", 2 * MIB);
	map = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	holds(map != MAP_FAILED);
	signal(SIGBUS, on_bus);
	if (!sigsetjmp(no_page, 1))
		for (; stored < 16 * MIB / PAGE; stored++)
			map[(size_t)stored * PAGE + stored % PAGE] = 'a' + stored % 26;
	holds(stored > 2 && stored < 16 * MIB / PAGE);
	signal(SIGBUS, SIG_DFL);
	map[1] = 'z';
	must(munmap(map, 16 * MIB));
	close(filler);
	must(unlink("filler"));
	put_at(fd, "after", 5, 15 * MIB);
	close(fd);
}

#define DISK "/dev/vda"
#define PROJECT_QUOTA 2
#define LIMIT_BYTES (400 * 1024)
#define LIMIT_INODES 20

/* glibc has no name for project quotas. */
static void limit(int type, int id)
{
	struct dqblk limits = {
		.dqb_bhardlimit = LIMIT_BYTES / 1024, .dqb_bsoftlimit = LIMIT_BYTES / 2048,
		.dqb_ihardlimit = LIMIT_INODES, .dqb_isoftlimit = LIMIT_INODES / 2,
		.dqb_valid = QIF_LIMITS,
	};

	must(quotactl(QCMD(Q_SETQUOTA, type), DISK, id, (caddr_t)&limits));
}

/* As a user that may not pass the limits. */
static void use_up(const char *dir, int id)
{
	char name[40];
	int fd, i;

	must(chmod(dir, 0777));
	if (must(fork())) {
		int status;

		must(wait(&status));
		holds(status == 0);
		return;
	}
	must(setgid(id));
	must(setuid(id));
	must(chdir(dir));
	fd = make_file("grows", 0, 0);
	holds(write_until_full(fd, 30001, EDQUOT) > PAGE);
	refused(pwrite(fd, "x", 1, 4 * MIB), EDQUOT);
	put_at(fd, "over the old", 12, 3);
	refused(fallocate(fd, 0, 0, 2 * LIMIT_BYTES), EDQUOT);
	must(ftruncate(fd, 10000));
	put_at(fd, "again", 5, 20000);
	for (i = 0;; i++) {
		sprintf(name, "inode%d", i);
		if (mkdir(name, 0755)) {
			holds(errno == EDQUOT);
			break;
		}
		holds(i < 2 * LIMIT_INODES);
	}
	must(rmdir("inode0"));
	must(mknod("fifo", S_IFIFO | 0600, 0));
	exit(0);
}

void case_quota(void)
{
	struct fsxattr fsx;
	int type, fd;

	for (type = 0; type <= PROJECT_QUOTA; type++)
		if (quotactl(QCMD(Q_QUOTAON, type), DISK, QFMT_VFS_V1, NULL))
			holds(errno == EBUSY || errno == EEXIST);
	limit(USRQUOTA, 2001);
	limit(GRPQUOTA, 2002);
	limit(PROJECT_QUOTA, 99);
	must(mkdir("user", 0777));
	use_up("user", 2001);
	must(mkdir("group", 0777));
	use_up("group", 2002);
	must(mkdir("project", 0777));
	fd = must(open("project", O_RDONLY));
	must(ioctl(fd, FS_IOC_FSGETXATTR, &fsx));
	fsx.fsx_xflags |= FS_XFLAG_PROJINHERIT;
	fsx.fsx_projid = 99;
	must(ioctl(fd, FS_IOC_FSSETXATTR, &fsx));
	close(fd);
	use_up("project", 2003);
}

#define BAD "/root/on-bad-blocks"
#define BAD_PAGES 16

/*
 * The host has put the file there, and lets every write to one of its blocks
 * fail. The write itself only fills the page cache; writing back fails.
 */
void case_io_errors(void)
{
	static char data[BAD_PAGES * PAGE];
	int fd = must(open(BAD, O_RDWR));

	pattern(data, sizeof(data), 8);
	put_at(fd, data, sizeof(data), 0);
	refused(fsync(fd), EIO);
	close(fd);
	close(make_file("beside", 3 * PAGE, 'b'));
	sync();
}
