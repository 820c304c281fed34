// SPDX-License-Identifier: MIT
/* Holes, far offsets, every mode of fallocate(), writes that stop half-way. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "files.h"

#define GIB (1ll << 30)
#define TIB (1ll << 40)
/* s_maxbytes of ext4 with blocks of 4 KiB: 2^32 - 1 of them */
#define SIZE_MOST (((1ll << 32) - 1) * PAGE)

void case_holes(void)
{
	static const off_t far[] = { 4 * GIB - 2, 4 * GIB + 1, 2 * TIB - 3, 2 * TIB + 4097, 9 * TIB };
	char data[3 * PAGE], *map;
	size_t i;
	int fd;

	pattern(data, sizeof(data), 1);
	fd = make_file("sparse", 100, 's');
	for (i = 0; i < COUNT(far); i++)
		put_at(fd, data + i, sizeof(data) - i, far[i]);
	/* The last bytes a file can have, and no more. */
	put_at(fd, data, 7, SIZE_MOST - 7);
	holds(pwrite(fd, data, 20, SIZE_MOST - 3) == 3);
	refused(pwrite(fd, data, 1, SIZE_MOST), EFBIG);
	refused(ftruncate(fd, SIZE_MOST + 1), EFBIG);
	map = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 6 * TIB);
	holds(map != MAP_FAILED);
	map[PAGE - 1] = 'm';
	map[PAGE] = 'n';
	must(munmap(map, 2 * PAGE));
	close(fd);
	/* Only a size. */
	close(make_file("empty", 0, 0));
	must(truncate("empty", SIZE_MOST));
	close(make_file("cut", 2 * PAGE, 'c'));
	must(truncate("cut", 3 * TIB + 5));
	must(truncate("cut", PAGE + 10));
	must(truncate("cut", 5 * GIB));
	fd = must(open("cut", O_WRONLY));
	put_at(fd, "end", 3, 5 * GIB - 3);
	must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5 * GIB - 2, 1));
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 7 * TIB + 1, 3 * PAGE));
	must(fallocate(fd, 0, 8 * TIB - 1, 2));
	must(fallocate(fd, FALLOC_FL_ZERO_RANGE, 2 * GIB, PAGE + 1));
	refused(fallocate(fd, 0, SIZE_MOST, 1), EFBIG);
	close(fd);
	/* Zeros that were written are no hole, but read the same. */
	memset(data, 0, sizeof(data));
	fd = make_file("zeros", 0, 0);
	put_at(fd, data, sizeof(data), 100);
	must(ftruncate(fd, 10 * PAGE));
	close(fd);
}

static const int modes[] = {
	0,
	FALLOC_FL_KEEP_SIZE,
	FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	FALLOC_FL_ZERO_RANGE,
	FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	FALLOC_FL_COLLAPSE_RANGE,
	FALLOC_FL_INSERT_RANGE,
};

#define RANGE_FILE_BYTES (16 * PAGE + 300)

/* The two that move content want whole blocks inside of the file. */
static int is_refused(int mode, off_t at, off_t len, off_t block)
{
	if (mode == FALLOC_FL_COLLAPSE_RANGE)
		return at % block || len % block || at + len >= RANGE_FILE_BYTES;
	if (mode == FALLOC_FL_INSERT_RANGE)
		return at % block || len % block || at >= RANGE_FILE_BYTES;
	return 0;
}

static const struct {
	off_t at, len;
} places[] = {
	{ 0, PAGE }, { 3 * PAGE, 2 * PAGE }, { 15 * PAGE, 4 * PAGE }, { 20 * PAGE, PAGE },
	{ PAGE - 1, 2 }, { 5 * PAGE + 100, 200 }, { 2 * PAGE + 1, 9 * PAGE + 7 }, { 16 * PAGE, 50 },
	{ 1024, 1024 }, { 4 * PAGE + 3072, PAGE }, { 6 * PAGE, 2048 }, { 4 * PAGE + 1020, 1030 },
};

/* A file of 16 pages and a bit, then one range in a place that the number tells. */
static void one_range(int mode, int number)
{
	static char data[RANGE_FILE_BYTES];
	off_t at = places[number].at, len = places[number].len;
	struct stat st;
	char name[40], *map;
	int fd;

	sprintf(name, "m%x-%d", mode, number);
	pattern(data, sizeof(data), number + mode);
	fd = make_file(name, 0, 0);
	put_at(fd, data, sizeof(data), 0);
	map = mmap(NULL, sizeof(data), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	holds(map != MAP_FAILED);
	map[4 * PAGE + 1] = '<';
	must(fstat(fd, &st));
	if (is_refused(mode, at, len, st.st_blksize))
		refused(fallocate(fd, mode, at, len), EINVAL);
	else
		must(fallocate(fd, mode, at, len));
	map[6 * PAGE + 1] = '>';
	put_at(fd, "after", 5, at + len + 3);
	must(munmap(map, sizeof(data)));
	close(fd);
}

void case_fallocate(void)
{
	size_t i;
	int number, fd;

	for (i = 0; i < COUNT(modes); i++)
		for (number = 0; number < (int)COUNT(places); number++)
			one_range(modes[i], number);
	fd = make_file("refused", 3 * PAGE, 'r');
	refused(fallocate(fd, FALLOC_FL_UNSHARE_RANGE, 0, PAGE), EOPNOTSUPP);
	refused(fallocate(fd, FALLOC_FL_NO_HIDE_STALE, 0, PAGE), EOPNOTSUPP);
	refused(fallocate(fd, FALLOC_FL_PUNCH_HOLE, 0, PAGE), EOPNOTSUPP);
	refused(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE | FALLOC_FL_KEEP_SIZE, 0, PAGE), EOPNOTSUPP);
	refused(fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE, 2 * PAGE), EINVAL);
	refused(fallocate(fd, FALLOC_FL_INSERT_RANGE, 3 * PAGE, PAGE), EINVAL);
	refused(fallocate(fd, FALLOC_FL_INSERT_RANGE, 0, SIZE_MOST & -PAGE), EFBIG);
	close(fd);
}

/* Two pages of memory, and nothing behind them. */
static char *cliff(void)
{
	char *at = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	holds(at != MAP_FAILED);
	must(munmap(at + 2 * PAGE, PAGE));
	pattern(at, 2 * PAGE, 9);
	return at;
}

void case_faults(void)
{
	char *memory = cliff();
	struct iovec bad[] = {
		{ memory, 100 }, { memory + PAGE, PAGE }, { memory + 2 * PAGE - 10, 40 }, { memory, 50 },
	};
	struct iovec gap[] = { { memory, 0 }, { NULL, 0 }, { memory + 5, 7 }, { (void *)16, 9 }, { memory, 3 } };
	int fd = make_file("short", 2 * PAGE, 'o'), other, pipes[2];

	/* over old pages, over a hole, behind the end */
	holds(pwrite(fd, memory + PAGE, 2 * PAGE, 10) == PAGE);
	holds(pwrite(fd, memory + 2 * PAGE - 5, 10, 7 * PAGE - 2) == 5);
	holds(pwrite(fd, memory + 2 * PAGE - 3000, PAGE, 20 * PAGE) == 3000);
	refused(pwrite(fd, memory + 2 * PAGE, 10, 0), EFAULT);
	refused(pwrite(fd, memory + 2 * PAGE, 10, 40 * PAGE), EFAULT);
	holds(pwritev(fd, bad, COUNT(bad), 30 * PAGE + 1) == 100 + PAGE + 10);
	holds(pwritev(fd, gap, COUNT(gap), 3) == 7);
	/* By number: the compiler would not have these. */
	refused(syscall(SYS_writev, fd, bad, 2000), EINVAL);
	bad[1].iov_len = -1;
	refused(pwritev(fd, bad, COUNT(bad), 0), EINVAL);
	refused(syscall(SYS_writev, fd, 16, 2), EFAULT);
	close(fd);
	fd = must(open("short", O_WRONLY | O_APPEND));
	holds(write(fd, memory + 2 * PAGE - 77, PAGE) == 77);
	refused(write(fd, memory + 2 * PAGE, 1), EFAULT);
	close(fd);
	/* Copies that the kernel makes itself. */
	fd = must(open("short", O_RDWR));
	other = make_file("copied", 0, 0);
	must(copy_file_range(fd, &(off_t){ 5 }, other, &(off_t){ 3 * PAGE + 9 }, 9000, 0));
	must(lseek(other, 50, SEEK_SET));
	must(sendfile(other, fd, &(off_t){ 100 }, 3000));
	must(pipe(pipes));
	must(splice(fd, &(off_t){ 20 }, pipes[1], NULL, PAGE, 0));
	must(splice(pipes[0], NULL, other, &(off_t){ 11 * PAGE + 1 }, PAGE, 0));
	must(vmsplice(pipes[1], &(struct iovec){ memory, 2 * PAGE }, 1, 0));
	must(splice(pipes[0], NULL, other, &(off_t){ 14 * PAGE - 7 }, 2 * PAGE, 0));
	close(other);
	other = must(open("direct", O_CREAT | O_RDWR | O_DIRECT, 0600));
	holds(pwrite(other, memory, 2 * PAGE, PAGE) == 2 * PAGE);
	holds(pwrite(other, memory + PAGE, PAGE, 0) == PAGE);
	close(other);
	close(fd);
}

void case_too_big(void)
{
	struct rlimit most = { 5 * PAGE + 100, 5 * PAGE + 100 };
	char data[3 * PAGE];
	int fd = make_file("limited", PAGE, 'l');

	pattern(data, sizeof(data), 4);
	signal(SIGXFSZ, SIG_IGN);
	must(setrlimit(RLIMIT_FSIZE, &most));
	holds(pwrite(fd, data, sizeof(data), 4 * PAGE) == PAGE + 100);
	refused(pwrite(fd, data, 1, 5 * PAGE + 100), EFBIG);
	refused(ftruncate(fd, 6 * PAGE), EFBIG);
	refused(fallocate(fd, 0, 5 * PAGE, PAGE), EFBIG);
	must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 5 * PAGE));
	must(ftruncate(fd, 5 * PAGE + 100));
	must(lseek(fd, 0, SEEK_SET));
	must(ftruncate(fd, 3 * PAGE + 1));
	must(fcntl(fd, F_SETFL, O_APPEND));
	holds(write(fd, data, sizeof(data)) == 2 * PAGE + 99);
	refused(write(fd, data, 1), EFBIG);
	close(fd);
}
