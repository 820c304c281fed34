// SPDX-License-Identifier: MIT
/* Operations that fail, and leave something behind all the same. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"
#include "lemona_abi.h"

#define MIB (1 << 20)
/* Files without a block, for the last ones of the disk: to give them one takes no block of metadata. */
#define CRUMBS 64

static int crumbs[CRUMBS];

static void make_crumbs(void)
{
	char name[16];

	for (int i = 0; i < CRUMBS; i++) {
		sprintf(name, "crumb%d", i);
		crumbs[i] = make_file(name, 0, 0);
	}
}

/* Takes all of the disk. */
static void take_all(size_t block)
{
	int fd = make_file("filler", 0, 0);
	off_t size = 0;

	for (off_t step = 64 * MIB; step >= (off_t)block;) {
		if (fallocate(fd, 0, size, step))
			step /= 2;
		else
			size += step;
	}
	for (int turn = 0; turn < 2; turn++) {
		for (int i = 0; i < CRUMBS; i++)
			if (fallocate(crumbs[i], 0, 0, block))
				holds(errno == ENOSPC);
		sync();
	}
	close(fd);
}

static void give_all(void)
{
	for (int i = 0; i < CRUMBS; i++)
		close(crumbs[i]);
	must(unlink("filler"));
}

/* ext4 changes the times of a file and of a folder before it finds that there is no room for the new name. */
void case_full_names(void)
{
	char name[256];
	int fd, i;

	make_crumbs();
	fd = make_file("linked", 0, 0);
	must(fallocate(fd, 0, 0, PAGE));
	must(mkdir("to", 0755));
	must(mkdir("from", 0755));
	close(make_file("from/renamed", 10, 'r'));
	take_all(PAGE);
	for (i = 0; i < 10000; i++) {
		sprintf(name, "to/%0240d", i);
		if (mknod(name, S_IFREG | 0600, 0)) {
			holds(errno == ENOSPC);
			break;
		}
	}
	sync();
	put_at(fd, "w", 1, 10);
	usleep(20000);
	sprintf(name, "to/%0240d", 20001);
	refused(link("linked", name), ENOSPC);
	refused(syscall(SYS_renameat2, AT_FDCWD, "from/renamed", AT_FDCWD, name, RENAME_WHITEOUT), ENOSPC);
	/* Its block is written now, and its inode with it. */
	must(fsync(fd));
	close(fd);
	give_all();
}

static int open_terminal(const char *name)
{
	struct timespec old[2] = { { .tv_sec = 946684800 }, { .tv_sec = 946684800 } };
	int fd;

	must(mknod(name, S_IFCHR | 0666, makedev(4, 64)));
	must(utimensat(AT_FDCWD, name, old, 0));
	fd = must(open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK));
	holds(write(fd, "\n", 1) == 1);
	return fd;
}

/* A terminal sets its node's times in memory alone; a call that is refused, or does nothing, shows them. */
void case_terminal(void)
{
	int fd, status;

	close(open_terminal("shown"));
	must(setxattr("shown", "system.posix_acl_default", NULL, 0, 0));
	fd = open_terminal("refused");
	if (must(fork()) == 0) {
		must(setgid(1000));
		must(setuid(1000));
		refused(fchmod(fd, 0600), EPERM);
		exit(0);
	}
	must(wait(&status));
	holds(status == 0);
	close(fd);
}

#define USERS 24

/* chmod() stores the mode, and then finds no room for the ACL: two files share the block that holds it. */
void case_full_acl(void)
{
	static const struct { uint16_t tag, perm; } others[] = { { 4, 5 }, { 0x10, 7 }, { 0x20, 0 } };
	struct { uint32_t version; struct { uint16_t tag, perm; uint32_t id; } entries[USERS + 4]; } acl = {
		.version = 2, .entries = { { 1, 7, ~0u } },
	};
	char name[16];
	size_t i;

	for (i = 0; i < USERS; i++) {
		acl.entries[1 + i].tag = 2;
		acl.entries[1 + i].perm = 5;
		acl.entries[1 + i].id = 2000 + i;
	}
	for (i = 0; i < COUNT(others); i++) {
		acl.entries[1 + USERS + i].tag = others[i].tag;
		acl.entries[1 + USERS + i].perm = others[i].perm;
		acl.entries[1 + USERS + i].id = ~0u;
	}
	for (i = 0; i < 2; i++) {
		sprintf(name, "acl%zu", i);
		close(make_file(name, 0, 0));
		must(setxattr(name, "system.posix_acl_access", &acl, sizeof(acl), 0));
	}
	make_crumbs();
	take_all(PAGE);
	refused(chmod("acl1", 0600), ENOSPC);
	give_all();
}

#define HELD 60

static atomic_int is_created;

static void *create_slowly(void *name)
{
	int fd = must(open(name, O_CREAT | O_EXCL | O_WRONLY, 0644));

	is_created = 1;
	close(fd);
	return NULL;
}

/*
 * A folder whose changes are on the disk before a call returns: a new name is
 * seen before its birth has a number. Links and renames of it wait for that in
 * a replay; what they say of others is older then than what has been heard.
 */
void case_held_times(void)
{
	struct timespec old[2] = { { .tv_sec = 946684800 }, { .tv_sec = 946684800 } };
	char born[32], folder[16], linked[48], kept[48], also[48];
	int fd, hits = 0;

	must(mkdir("sync", 0755));
	must(set_flags("sync", FS_DIRSYNC_FL));
	for (int i = 0; i < HELD; i++) {
		pthread_t thread;
		DIR *dir;

		sprintf(born, "sync/born%d", i);
		sprintf(folder, "folder%d", i);
		sprintf(linked, "%s/linked", folder);
		sprintf(kept, "%s/kept", folder);
		sprintf(also, "%s/also", folder);
		must(mkdir(folder, 0755));
		fd = make_file(kept, 3, 'k');
		must(link(kept, also));
		must(utimensat(AT_FDCWD, kept, old, 0));
		must(utimensat(AT_FDCWD, folder, old, 0));
		holds(access(born, F_OK) < 0);
		sync();
		is_created = 0;
		holds(pthread_create(&thread, NULL, create_slowly, born) == 0);
		while (link(born, linked)) {
			holds(errno == ENOENT);
			sched_yield();
		}
		must(rename(linked, kept));
		put_at(fd, "new", 3, 0);
		dir = opendir(folder);
		holds(dir != NULL);
		while (readdir(dir))
			;
		closedir(dir);
		hits += !is_created;
		holds(pthread_join(thread, NULL) == 0);
		close(fd);
	}
	holds(hits > 0);
}

static void *mkdir_slowly(void *name)
{
	must(mkdir(name, 0755));
	is_created = 1;
	return NULL;
}

/*
 * A folder that is moved into, and worked in, before its birth has a number: what moved there leaves its old name to
 * another file, and what is replaced there was made elsewhere.
 */
void case_held_names(void)
{
	char born[32], inside[64], below[64], linked[32];
	int fd, hits = 0;

	must(mkdir("slow", 0755));
	must(set_flags("slow", FS_DIRSYNC_FL));
	for (int i = 0; i < HELD; i++) {
		pthread_t thread;

		sprintf(born, "slow/born%d", i);
		sprintf(inside, "%s/inside", born);
		sprintf(below, "%s/below", born);
		sprintf(linked, "linked%d", i);
		close(make_file("name", 3, 'o'));
		holds(access(born, F_OK) < 0);
		sync();
		is_created = 0;
		holds(pthread_create(&thread, NULL, mkdir_slowly, born) == 0);
		while (rename("name", inside)) {
			holds(errno == ENOENT);
			sched_yield();
		}
		fd = make_file("name", 5, 'n');
		hits += !is_created;
		must(mkdir(below, 0755));
		must(link("name", linked));
		if (i % 2)
			must(rename("name", inside));
		else
			must(unlink(inside));
		put_at(fd, "later", 5, 2);
		holds(pthread_join(thread, NULL) == 0);
		close(fd);
		if (i % 2 == 0)
			must(unlink("name"));
	}
	holds(hits > 0);
}

/* The record's own driver changes nothing while it records. */
void case_own_driver(void)
{
	struct lemona_settimes times = { .fd = make_file("times", 1, 't'), .sec = { 1, 2, 3, 4 } };
	int driver = must(open("/dev/lemona", O_RDWR));

	refused(ioctl(driver, LEMONA_IOC_SETTIMES, &times), EBUSY);
	close(driver);
	close(times.fd);
}

/* A descriptor that is open for writing stays so; a freeze does not sync any more. */
void case_forced_read_only(void)
{
	int fd = make_file("late", PAGE, 'l'), sysrq;
	struct statvfs v = { 0 };

	sync();
	sysrq = must(open("/proc/sysrq-trigger", O_WRONLY));
	holds(write(sysrq, "u", 1) == 1);
	close(sysrq);
	for (int i = 0; i < 500 && !(v.f_flag & ST_RDONLY); i++) {
		usleep(10000);
		must(statvfs("/", &v));
	}
	holds(v.f_flag & ST_RDONLY);
	put_at(fd, "in the cache alone", 18, PAGE);
	close(fd);
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_RELATIME, NULL));
	sync();
}

#define STRAYS 40
#define BLOCK 1024

/* Stray bytes get a block from a write that finds none for the next one; or from a fault that does. */
void case_full_strays(void)
{
	char name[16], data[2 * BLOCK], *map;
	int fds[STRAYS], i, failed = 0, kept = 0;

	make_crumbs();
	memset(data, 'd', sizeof(data));
	for (i = 0; i < STRAYS; i++) {
		sprintf(name, "spare%d", i);
		fds[i] = make_file(name, BLOCK, 's');
		must(fsync(fds[i]));
		close(fds[i]);
		sprintf(name, "strays%d", i);
		fds[i] = make_file(name, BLOCK, 'f');
		map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fds[i], 0);
		holds(map != MAP_FAILED);
		memset(map + BLOCK, 'x', PAGE - BLOCK);
		must(ftruncate(fds[i], PAGE));
		must(munmap(map, PAGE));
	}
	sync();
	take_all(BLOCK);
	/* Captured: they have no block yet. */
	usleep(500000);
	for (i = 0; i < STRAYS; i++) {
		sprintf(name, "spare%d", i);
		must(unlink(name));
		sync();
		if (pwrite(fds[i], data, sizeof(data), BLOCK) < 0) {
			holds(errno == ENOSPC);
			failed++;
		}
	}
	sync();
	for (i = 0; i < STRAYS; i++) {
		must(posix_fadvise(fds[i], 0, 0, POSIX_FADV_DONTNEED));
		kept += pread(fds[i], data, 1, BLOCK + 5) == 1 && data[0] == 'x';
		close(fds[i]);
	}
	holds(failed > 0 && kept > 0);
	give_all();
}

#define REJECTED 500
/* A write that takes its time: so many pieces, each in a page of its own; then one that is not there. */
#define PIECES 1000
#define PIECE 1

static char *first_page;
static atomic_int asked, taken, spins = 1000;

static void *take_away(void *unused)
{
	for (int turn = 1; turn <= REJECTED; turn++) {
		while (asked < turn)
			;
		for (volatile int i = spins; i > 0; i--)
			;
		mprotect(first_page, PAGE, PROT_NONE);
		taken = turn;
	}
	return unused;
}

/*
 * The first try ends at the piece that is not there, and the second finds that
 * the first piece has gone as well: bytes that were copied and rejected stay in
 * the cache, and nobody says that the page is dirty.
 */
void case_rejected(void)
{
	static struct iovec pieces[PIECES + 1];
	int fd = make_file("rejected", REJECTED * PAGE, 'o'), failed = 0;
	pthread_t thread;
	char *room;

	must(fsync(fd));
	must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	must(posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM));
	room = mmap(NULL, (PIECES + 1) * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	holds(room != MAP_FAILED);
	memset(room, 'N', (PIECES + 1) * PAGE);
	for (int i = 0; i <= PIECES; i++)
		pieces[i] = (struct iovec){ .iov_base = room + i * PAGE, .iov_len = PIECE };
	must(mprotect(room + PIECES * PAGE, PAGE, PROT_NONE));
	first_page = room;
	holds(pthread_create(&thread, NULL, take_away, NULL) == 0);
	for (int i = 0; i < REJECTED; i++) {
		ssize_t n;

		must(mprotect(room, PAGE, PROT_READ | PROT_WRITE));
		asked = i + 1;
		n = pwritev(fd, pieces, PIECES + 1, i * PAGE);
		while (taken <= i)
			;
		holds(n == PIECES * PIECE || (n < 0 && errno == EFAULT));
		/* As late as it goes, so that it is not before the first try. */
		failed += n < 0;
		spins += n < 0 ? spins / 8 + 1 : -spins / 8;
	}
	holds(failed > 0 && failed < REJECTED);
	holds(pthread_join(thread, NULL) == 0);
	usleep(300000);
	must(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	close(fd);
}

#define LOST 32

/*
 * Writeback that finds no block for the extents of what it writes gives it up:
 * fsync() is told nothing, and the kernel's log that data will be lost.
 */
void case_lost_writeback(void)
{
	static char data[PAGE];
	int fd, control;

	make_crumbs();
	fd = make_file("given-up", 0, 0);
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 4 * LOST * PAGE));
	must(fsync(fd));
	control = must(open("/sys/fs/ext4/vda/reserved_clusters", O_WRONLY));
	holds(write(control, "0", 1) == 1);
	close(control);
	take_all(PAGE);
	memset(data, 'w', sizeof(data));
	for (int i = 0; i < LOST; i++)
		put_at(fd, data, sizeof(data), i * 2 * PAGE);
	must(fsync(fd));
	sync();
	close(fd);
	give_all();
}

/* From here on owners are cut to 16 bits on their way to the disk. */
void case_cut_owners(void)
{
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_RELATIME, "nouid32"));
	close(make_file("cut", 10, 'c'));
	must(chown("cut", 100000, 100001));
}

/* New inodes have no room for nanoseconds and the time of birth. */
void case_cut_inodes(void)
{
	must(mount(NULL, "/", NULL, MS_REMOUNT | MS_RELATIME, "debug_want_extra_isize=4"));
	close(make_file("cut", 10, 'c'));
}
