// SPDX-License-Identifier: MIT
/* Steps that change what files hold. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exerciser.h"

/* No mapping is larger, whatever the file is. */
#define MAP_MOST (1 << 20)

static void do_pwrite(void)
{
	size_t n = fill();
	int fd = open_some(O_CREAT | O_RDWR);

	try(pwrite(fd, buf, n, some_place()));
	close(fd);
}

static void do_append(void)
{
	size_t n = fill();
	int fd = open_some(O_CREAT | O_WRONLY | O_APPEND);
	struct stat st;

	/* The largest file takes no more. */
	if (fd >= 0 && !fstat(fd, &st) && st.st_size < 10 * SIZE_MAX_BYTES)
		try(write(fd, buf, n));
	close(fd);
}

static void do_direct(void)
{
	int fd = open_some(O_CREAT | O_RDWR | O_DIRECT);
	void *block;

	if (posix_memalign(&block, PAGE, 4 * PAGE))
		return;
	memset(block, 'A' + below(26), 4 * PAGE);
	try(pwrite(fd, block, PAGE * (1 + below(4)), PAGE * below(40)));
	try(pread(fd, block, PAGE, PAGE * below(40)));
	free(block);
	close(fd);
}

/* Past the cache of one file into the cache of another, or of the same. */
static void do_direct_mapped(void)
{
	int from = open_some(O_RDONLY | O_DIRECT), to = open_some(O_RDWR);
	struct stat st;
	char *map;

	if (to < 0 || fstat(to, &st) || !S_ISREG(st.st_mode) || st.st_size < PAGE)
		goto out;
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, to, PAGE * below(1 + st.st_size / PAGE % 50));
	if (map == MAP_FAILED)
		goto out;
	try(pread(from, map, PAGE, PAGE * below(40)));
	munmap(map, PAGE);
out:
	close(from);
	close(to);
}

/* Without root's privileges: set-id bits and capabilities go. */
static void do_write_as_user(void)
{
	int fd = open_some(O_RDWR);

	setfsgid(1001);
	setfsuid(1001);
	try(pwrite(fd, "user", 4, below(SIZE_MAX_BYTES)));
	setfsuid(0);
	setfsgid(0);
	close(fd);
}

/* The memory ends in the middle of the write. */
static void do_faulting_write(void)
{
	size_t before = 1 + below(PAGE), gap = below(3) * PAGE;
	char *at = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int fd = open_some(O_CREAT | O_RDWR);
	struct iovec parts[3];

	memset(at, '0' + below(10), 2 * PAGE);
	munmap(at + PAGE, PAGE);
	parts[0] = (struct iovec){ at, below(PAGE) };
	parts[1] = (struct iovec){ at + PAGE - before, before + gap };
	parts[2] = (struct iovec){ at, 10 };
	if (below(2))
		try(pwrite(fd, at + PAGE - before, before + gap, below(SIZE_MAX_BYTES)));
	else
		try(pwritev(fd, parts, 3, below(SIZE_MAX_BYTES)));
	munmap(at, PAGE);
	close(fd);
}

static void do_truncate(void)
{
	char a[NAME_ROOM];

	try(truncate(name(a), some_place()));
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
		FALLOC_FL_UNSHARE_RANGE,
	};
	int mode = modes[below(8)];
	off_t at = below(SIZE_MAX_BYTES), len = 1 + below(SIZE_MAX_BYTES / 4);
	int fd = open_some(O_RDWR);
	struct stat st;

	if ((mode & (FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_INSERT_RANGE)) && !fstat(fd, &st)) {
		at &= ~((off_t)st.st_blksize - 1);
		len = (len + st.st_blksize - 1) & ~((off_t)st.st_blksize - 1);
	}
	try(fallocate(fd, mode, at, len));
	close(fd);
}

static void store(char *map, size_t size)
{
	int stores = 1 + below(40), i;

	for (i = 0; i < stores; i++) {
		map[below(size)] = 'a' + below(26);
		if (!below(8))
			getppid();
		if (!below(16))
			msync(map, size, below(2) ? MS_SYNC : MS_ASYNC);
		if (!below(32))
			madvise(map, size, MADV_DONTNEED);
	}
}

/* A file cut short under the mapping ends the stores. */
static void do_mapped(void)
{
	int fd = open_some(O_RDWR);
	volatile size_t size;
	struct stat st;
	char *map;

	if (fd < 0 || fstat(fd, &st) || !S_ISREG(st.st_mode) || !st.st_size)
		goto out;
	size = st.st_size < MAP_MOST ? st.st_size : MAP_MOST;
	/* What is stored behind the end may come to light when the file grows. */
	if (!below(3))
		size = (size + PAGE - 1) & ~(size_t)(PAGE - 1);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		goto out;
	storing = 1;
	if (!sigsetjmp(no_page, 1))
		store(map, size);
	storing = 0;
	if (below(4))
		munmap(map, size);
	else /* what was stored stays to be found, and then the mapping changes its place */
		munmap(mremap(map, size, size + PAGE, MREMAP_MAYMOVE), size + PAGE);
out:
	close(fd);
}

/* The same in a child, which goes away with its mapping. */
static void do_mapped_child(void)
{
	pid_t child = fork();

	if (!child) {
		do_mapped();
		_exit(0);
	}
	if (child > 0)
		waitpid(child, NULL, 0);
}

static void do_copy(void)
{
	off_t from = below(SIZE_MAX_BYTES), to = below(SIZE_MAX_BYTES);
	int in = open_some(O_RDONLY), out = open_some(O_CREAT | O_RDWR), pipes[2];
	size_t len = 1 + below(20000);

	switch (below(3)) {
	case 0:
		try(copy_file_range(in, &from, out, &to, len, 0));
		break;
	case 1:
		try(lseek(out, to, SEEK_SET) < 0 || sendfile(out, in, &from, len));
		break;
	case 2:
		if (pipe2(pipes, O_NONBLOCK | O_CLOEXEC))
			break;
		try(splice(in, &from, pipes[1], NULL, len, SPLICE_F_NONBLOCK) > 0 &&
		    splice(pipes[0], NULL, out, &to, len, SPLICE_F_NONBLOCK));
		close(pipes[0]);
		close(pipes[1]);
		break;
	}
	close(in);
	close(out);
}

static void do_read(void)
{
	int fd = open_some(O_RDONLY);

	try(pread(fd, buf, 1 + below(3000), below(SIZE_MAX_BYTES)));
	close(fd);
}

static void do_sync(void)
{
	int fd = open_some(O_RDONLY);

	try(below(2) ? fsync(fd) : fdatasync(fd));
	close(fd);
}

/* An open file goes on living without a name. */
static void do_deleted(void)
{
	size_t n = fill();
	char a[NAME_ROOM];
	int fd = open(name(a), O_RDWR | O_NONBLOCK);

	unlink(a);
	if (pwrite(fd, buf, n, below(SIZE_MAX_BYTES)) > 0 && !ftruncate(fd, n / 2))
		fsync(fd);
	close(fd);
}

static void do_tmpfile(void)
{
	size_t n = fill();
	char from[NAME_ROOM], a[NAME_ROOM];
	int fd = open(dir_name(a), O_TMPFILE | O_RDWR, 0640);

	if (fd < 0)
		return;
	sprintf(from, "/proc/self/fd/%d", fd);
	try(pwrite(fd, buf, n, below(SIZE_MAX_BYTES)));
	if (below(3))
		try(fchmod(fd, below(010000)));
	if (below(3))
		try(linkat(AT_FDCWD, from, AT_FDCWD, name(a), AT_SYMLINK_FOLLOW));
	try(pwrite(fd, buf, n / 2, 0));
	close(fd);
}

const struct step content_steps[] = {
	{ 6, "pwrite", do_pwrite }, { 3, "append", do_append }, { 2, "direct", do_direct },
	{ 2, "direct-mapped", do_direct_mapped },
	{ 2, "user", do_write_as_user }, { 2, "faulting", do_faulting_write },
	{ 3, "truncate", do_truncate }, { 6, "fallocate", do_fallocate },
	{ 5, "mapped", do_mapped }, { 2, "mapped-child", do_mapped_child }, { 4, "copy", do_copy },
	{ 2, "read", do_read }, { 1, "sync", do_sync }, { 2, "deleted", do_deleted },
	{ 3, "tmpfile", do_tmpfile }, { 0, NULL, NULL },
};
