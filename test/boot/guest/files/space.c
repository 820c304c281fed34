// SPDX-License-Identifier: MIT
/* No room: on the disk, in a quota, or on a disk that fails. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <signal.h>
#include <stdbool.h>
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

/* The write itself is told. What is written in the same way beside it, before and after, arrives. */
static void write_through(int flag)
{
	static char data[BAD_PAGES * PAGE] __attribute__((aligned(PAGE)));
	size_t len = sizeof(data);
	int bad, good;

	pattern(data, len, 9);
	good = must(open("good", O_CREAT | O_EXCL | O_RDWR | flag, 0644));
	put_at(good, data, 4 * PAGE, 0);
	bad = must(open(BAD, O_RDWR | flag));
	refused(pwrite(bad, data, len, 0), EIO);
	put_at(good, data + 2 * PAGE, 4 * PAGE, 3 * PAGE);
	/* The disk fails no more. */
	put_at(bad, data + PAGE, PAGE, (BAD_PAGES - 1) * PAGE);
	close(bad);
	close(good);
}

void case_io_errors_direct(void)
{
	write_through(O_DIRECT);
}

void case_io_errors_sync(void)
{
	write_through(O_SYNC);
}

/* Only sync(2) writes back, and it tells nobody. */
void case_io_errors_unasked(void)
{
	int fd = must(open(BAD, O_RDWR));

	close(make_file("beside", 3 * PAGE, 'b'));
	put_at(fd, "not on the disk", 15, 7 * PAGE + 100);
	close(fd);
	sync();
}

#define FILES_MAX 2000

/* Calls that were told EROFS. */
static int refusals;

/* ext4 refuses the first call that finds the journal aborted; then it calls itself shut down, which is EIO. */
static bool has_stopped(long result)
{
	if (result >= 0)
		return false;
	holds(errno == EROFS || errno == EIO);
	refusals += errno == EROFS;
	return true;
}

/* Makes a file that is on the disk for good; false if the journal has stopped. */
static bool make_durable(const char *name)
{
	int fd = open(name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	bool stopped = has_stopped(fd) || has_stopped(write(fd, name, strlen(name))) || has_stopped(fsync(fd));

	close(fd);
	return !stopped;
}

/*
 * The host lets a write to the journal fail, some commits from here. Prints
 * the name of the first file that did not become durable.
 */
void case_journal_stop(void)
{
	char name[16];
	int i = 0;

	do {
		holds(i < FILES_MAX);
		sprintf(name, "%d", i++);
	} while (make_durable(name));
	printf("%s\n", name);
}

/* And then goes on: nothing is taken in any more. */
void case_journal_abort(void)
{
	int fd = make_file("open", 2 * PAGE, 'o');

	must(mkdir("folder", 0755));
	must(fsync(fd));
	case_journal_stop();
	holds(has_stopped(open("new", O_CREAT | O_WRONLY, 0644)));
	holds(has_stopped(mkdir("new", 0755)));
	holds(has_stopped(rmdir("folder")));
	holds(has_stopped(unlink("0")));
	holds(has_stopped(rename("0", "new")));
	holds(has_stopped(link("0", "new")));
	holds(has_stopped(symlink("0", "new")));
	holds(has_stopped(mknod("new", S_IFIFO | 0644, 0)));
	holds(has_stopped(truncate("0", 0)));
	holds(has_stopped(chmod("0", 0600)));
	holds(has_stopped(pwrite(fd, "x", 1, 5)));
	holds(has_stopped(fallocate(fd, 0, 0, 10 * PAGE)));
	holds(has_stopped(fsync(fd)));
	holds(refusals == 1);
	close(fd);
}
