// SPDX-License-Identifier: MIT
/*
 * A seeded random exerciser of a filesystem: exerciser DIR PROCESSES STEPS SEED
 *
 * PROCESSES processes race on the same few names under DIR. Each step picks an
 * operation of the table below at random; failing is part of the game. With one
 * process the same seed gives the same operations.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DIRS 4
#define FILES 12
#define SIZE_MAX_BYTES 200000
#define PAGE 4096

static uint64_t state;
static char buf[64 * 1024];

/* xorshift64; never 0 */
static unsigned int below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

static const char *name(char *out)
{
	sprintf(out, "d%u/f%u", below(DIRS), below(FILES));
	return out;
}

static size_t fill(void)
{
	size_t n = 1 + below(below(4) ? 3000 : sizeof(buf) - 1);

	memset(buf, 'a' + below(26), n);
	return n;
}

/* FIFOs are among the names: never wait for their other end. */
static int open_some(int flags)
{
	char a[32];

	return open(name(a), flags | O_NONBLOCK | O_CLOEXEC, 0600 + below(0200));
}

static void do_pwrite(void)
{
	size_t n = fill();
	int fd = open_some(O_CREAT | O_RDWR);

	if (fd < 0)
		return;
	if (pwrite(fd, buf, n, below(SIZE_MAX_BYTES)) < 0)
		errno = 0;
	close(fd);
}

static void do_append(void)
{
	size_t n = fill();
	int fd = open_some(O_CREAT | O_WRONLY | O_APPEND);

	if (fd < 0)
		return;
	if (write(fd, buf, n) < 0)
		errno = 0;
	close(fd);
}

static void do_direct(void)
{
	int fd = open_some(O_CREAT | O_RDWR | O_DIRECT);
	void *block;

	if (fd < 0 || posix_memalign(&block, PAGE, 4 * PAGE))
		return;
	memset(block, 'A' + below(26), 4 * PAGE);
	if (pwrite(fd, block, PAGE * (1 + below(4)), PAGE * below(40)) < 0)
		perror("direct write");
	free(block);
	close(fd);
}

static void do_truncate(void)
{
	char a[32];

	if (truncate(name(a), below(SIZE_MAX_BYTES)))
		return;
}

static void do_unlink(void)
{
	char a[32];

	unlink(name(a));
}

static void do_rename(void)
{
	static const unsigned int flags[] = { 0, 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	char a[32], b[32];

	renameat2(AT_FDCWD, name(a), AT_FDCWD, name(b), flags[below(4)]);
}

static void do_link(void)
{
	char a[32], b[32];

	if (link(name(a), name(b)))
		return;
}

static void do_symlink(void)
{
	static const char far[] = "../a/target/that/is/too/long/for/the/inode/itself/and/needs/a/block";
	char a[32];

	if (symlink(below(2) ? "near" : far, name(a)))
		return;
}

static void do_mknod(void)
{
	static const mode_t kinds[] = { S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK };
	char a[32];

	/* majors for local use: opening such a node reaches no device */
	mknod(name(a), kinds[below(4)] | below(01000), makedev(240 + below(15), below(1000)));
}

static void do_chmod(void)
{
	char a[32];

	if (chmod(name(a), below(010000)))
		return;
}

static void do_chown(void)
{
	char a[32];

	if (lchown(name(a), below(1000), below(100000)))
		return;
}

static void do_xattr(void)
{
	static const char *const names[] = { "user.a", "user.b", "trusted.c", "security.d" };
	char a[32];

	fill();
	lsetxattr(name(a), names[below(4)], buf, below(below(8) ? 100 : 3000), 0);
}

static void do_remove_xattr(void)
{
	char a[32];

	lremovexattr(name(a), below(2) ? "user.a" : "trusted.c");
}

static void do_times(void)
{
	struct timespec ts[2] = {
		{ .tv_sec = below(1u << 31), .tv_nsec = below(1000000000) },
		{ .tv_sec = below(2) ? -(int)below(1u << 30) : (long long)below(1u << 31) * 4,
		  .tv_nsec = below(1000000000) },
	};
	char a[32];

	utimensat(AT_FDCWD, name(a), ts, AT_SYMLINK_NOFOLLOW);
}

static void do_fallocate(void)
{
	static const int modes[] = {
		0,
		FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_ZERO_RANGE,
		FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
		FALLOC_FL_COLLAPSE_RANGE,
		FALLOC_FL_INSERT_RANGE,
	};
	int mode = modes[below(7)];
	off_t at = below(SIZE_MAX_BYTES), len = 1 + below(SIZE_MAX_BYTES / 4);
	int fd = open_some(O_RDWR);

	if (fd < 0)
		return;
	if (mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) {
		at &= ~(PAGE - 1);
		len = (len + PAGE - 1) & ~(PAGE - 1);
	}
	if (fallocate(fd, mode, at, len))
		errno = 0;
	close(fd);
}

/* Store in a child: a file cut short under the mapping kills only that. */
static void do_mapped(void)
{
	struct stat st;
	int fd = open_some(O_RDWR);
	int stores = 1 + below(40);
	char *map;

	if (fd < 0)
		return;
	if (fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size)
		goto out;
	map = mmap(NULL, st.st_size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		goto out;
	if (!fork()) {
		for (int i = 0; i < stores; i++) {
			map[below(st.st_size)] = 'a' + below(26);
			if (!below(8))
				getppid();
			if (!below(16))
				msync(map, st.st_size, MS_SYNC);
		}
		_exit(0);
	}
	for (int i = 0; i < stores; i++)
		below(2);
	wait(NULL);
	munmap(map, st.st_size);
out:
	close(fd);
}

static void do_tmpfile(void)
{
	size_t n = fill();
	char from[64], a[32];
	int fd = open("d0", O_TMPFILE | O_RDWR, 0640);

	if (fd < 0)
		return;
	sprintf(from, "/proc/self/fd/%d", fd);
	if (write(fd, buf, n) > 0 && below(2))
		linkat(AT_FDCWD, from, AT_FDCWD, name(a), AT_SYMLINK_FOLLOW);
	close(fd);
}

/* An open file goes on living without a name. */
static void do_orphan(void)
{
	size_t n = fill();
	char a[32];
	int fd = open(name(a), O_RDWR | O_NONBLOCK);

	if (fd < 0)
		return;
	unlink(a);
	if (pwrite(fd, buf, n, below(SIZE_MAX_BYTES)) > 0 && !ftruncate(fd, n / 2))
		fsync(fd);
	close(fd);
}

static void do_dir(void)
{
	char a[32], b[32];

	sprintf(a, "d%u/s%u", below(DIRS), below(4));
	sprintf(b, "d%u/s%u", below(DIRS), below(4));
	switch (below(3)) {
	case 0:
		mkdir(a, 0700 + below(0100));
		break;
	case 1:
		rmdir(a);
		break;
	case 2:
		rename(a, b);
		break;
	}
}

static const struct {
	int weight;
	void (*run)(void);
} steps[] = {
	{ 6, do_pwrite }, { 3, do_append }, { 2, do_direct }, { 3, do_truncate },
	{ 3, do_unlink }, { 4, do_rename }, { 3, do_link }, { 2, do_symlink },
	{ 1, do_mknod }, { 2, do_chmod }, { 2, do_chown }, { 3, do_xattr },
	{ 1, do_remove_xattr }, { 2, do_times }, { 6, do_fallocate },
	{ 6, do_mapped }, { 2, do_tmpfile }, { 2, do_orphan }, { 2, do_dir },
};

static void step(void)
{
	int total = 0, pick;
	size_t i;

	for (i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		total += steps[i].weight;
	pick = below(total);
	for (i = 0; pick >= steps[i].weight; i++)
		pick -= steps[i].weight;
	steps[i].run();
}

int main(int argc, char **argv)
{
	if (argc != 5) {
		fprintf(stderr, "usage: exerciser DIR PROCESSES STEPS SEED\n");
		return 2;
	}
	mkdir(argv[1], 0755);
	if (chdir(argv[1])) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 0; i < DIRS; i++) {
		char dir[8];

		sprintf(dir, "d%d", i);
		mkdir(dir, 0755);
	}
	for (int p = 0; p < atoi(argv[2]); p++) {
		if (fork())
			continue;
		state = strtoull(argv[4], NULL, 0) * 1000003 + p * 7919 + 1;
		for (int i = 0; i < 20; i++)
			below(2);
		for (int i = 0; i < atoi(argv[3]); i++)
			step();
		_exit(0);
	}
	while (wait(NULL) > 0)
		;
	return 0;
}
