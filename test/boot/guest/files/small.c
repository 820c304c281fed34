// SPDX-License-Identifier: MIT
/* Files whose end is in the middle of a page or of an inode: what is behind it, and what comes to light when they grow. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "files.h"

enum growth { GROW_TRUNCATE, GROW_WRITE, GROW_FAR_WRITE, GROW_FALLOCATE, GROW_ZERO, GROW_TWICE, GROWTHS };

static void grow(int fd, enum growth how, off_t size)
{
	switch (how) {
	case GROW_TRUNCATE:
		must(ftruncate(fd, size + 3000));
		break;
	case GROW_WRITE:
		put_at(fd, "grown", 5, size + 100);
		break;
	case GROW_FAR_WRITE:
		put_at(fd, "grown", 5, size + 5 * PAGE);
		break;
	case GROW_FALLOCATE:
		/* Block maps have none. */
		if (fallocate(fd, 0, size, 2500) < 0)
			must(ftruncate(fd, size + 2500));
		break;
	case GROW_ZERO:
		if (fallocate(fd, FALLOC_FL_ZERO_RANGE, size + 10, 2500) < 0)
			must(ftruncate(fd, size + 2510));
		break;
	default:
		must(ftruncate(fd, size + 1));
		must(ftruncate(fd, size / 2));
		must(ftruncate(fd, size + PAGE));
	}
}

/* What comes after the growth; but for the first, when the page has been captured. */
enum after { AFTER_STORE_AT_ONCE, AFTER_NOTHING, AFTER_STORE, AFTER_WRITE, AFTERS };

/* A page of a file, mapped. */
struct tail {
	int fd;
	char *map;
	off_t start;
};

/* Stores behind the end, to every byte of its page; then the file grows over them, written back before or not. */
static struct tail make_tail(off_t size, enum growth how, int written_back, enum after after)
{
	struct tail tail = { .start = size / PAGE * PAGE };
	char name[60], *map;

	sprintf(name, "tail-%lld-%d-%d-%d", (long long)size, how, written_back, after);
	tail.fd = make_file(name, size, 'o');
	map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, tail.fd, tail.start);
	holds(map != MAP_FAILED);
	memset(map + size - tail.start, 'x', PAGE - (size - tail.start));
	if (written_back)
		must(fdatasync(tail.fd));
	if (written_back > 1)
		memset(map + size - tail.start, 'y', PAGE - (size - tail.start));
	grow(tail.fd, how, size);
	tail.map = map;
	return tail;
}

static void end_tail(const struct tail *tail, enum after after)
{
	if (after == AFTER_STORE || after == AFTER_STORE_AT_ONCE)
		tail->map[PAGE - 1] = 'z';
	else if (after == AFTER_WRITE)
		put_at(tail->fd, "after", 5, tail->start + PAGE - 700);
	must(munmap(tail->map, PAGE));
	close(tail->fd);
}

/* Longer than what is stored waits for its capture. */
#define CAPTURED_US 300000

void case_tails(void)
{
	static const off_t sizes[] = { 1, 700, 1024, 1500, 2048, 4000, PAGE + 5, 2 * PAGE + 3000, 5 * PAGE + 1024 };
	struct tail tails[COUNT(sizes) * GROWTHS * 3];
	size_t i, count;
	int how, written_back, after;

	for (after = 0; after < AFTERS; after++) {
		count = 0;
		for (i = 0; i < COUNT(sizes); i++) {
			for (how = 0; how < GROWTHS; how++) {
				for (written_back = 0; written_back < 3; written_back++) {
					struct tail tail = make_tail(sizes[i], how, written_back, after);

					if (after == AFTER_STORE_AT_ONCE)
						end_tail(&tail, after);
					else
						tails[count++] = tail;
				}
			}
		}
		if (after != AFTER_STORE_AT_ONCE)
			usleep(CAPTURED_US);
		for (i = 0; i < count; i++)
			end_tail(&tails[i], after);
	}
}

/* A hole of an old page, of which single blocks are made, by stores and by writes, and cut again. */
void case_blocks(void)
{
	static const int order[] = { 3, 0, 2, 1 };
	char data[PAGE], name[20], *map;
	int fd, first, second;

	pattern(data, sizeof(data), 7);
	for (first = 0; first < 4; first++) {
		for (second = 0; second < 4; second++) {
			sprintf(name, "holes-%d-%d", first, second);
			fd = make_file(name, 0, 0);
			must(ftruncate(fd, 3 * PAGE));
			put_at(fd, data, 100, PAGE + first * 1024 + 50);
			must(fdatasync(fd));
			map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, PAGE);
			holds(map != MAP_FAILED);
			map[second * 1024 + 7] = 'm';
			must(fdatasync(fd));
			if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE + order[first] * 1024 - 9, 1040) < 0)
				holds(errno == EOPNOTSUPP);
			map[order[second] * 1024] = 'n';
			must(ftruncate(fd, PAGE + 1024 * (first + 1) - 1));
			must(ftruncate(fd, PAGE + 1024 * (second + 1) + 1));
			map[0] = 'o';
			must(munmap(map, PAGE));
			close(fd);
		}
	}
}

/*
 * Around the sizes that fit into an inode: 60 bytes of it, and what extended attributes leave. @converted: stores through
 * mappings and fallocate(), too, for which content leaves its inode at once.
 */
static void small(int converted)
{
	static const off_t sizes[] = { 1, 59, 60, 61, 100, 150, 160, 161, 200, 1000, 1024, 4096 };
	char data[PAGE], value[200], name[60], *map;
	size_t i, k;
	int fd;

	pattern(data, sizeof(data), 3);
	memset(value, 'v', sizeof(value));
	for (i = 0; i < COUNT(sizes); i++) {
		for (k = 0; k < COUNT(sizes); k++) {
			sprintf(name, "from-%lld-%lld", (long long)sizes[i], (long long)sizes[k]);
			fd = make_file(name, sizes[i], 'i');
			if (k % 2)
				must(fsync(fd));
			must(ftruncate(fd, sizes[k]));
			put_at(fd, data, 5, sizes[k] / 2);
			if (k % 3 == 1)
				must(fsetxattr(fd, "user.room", value, 10 * i, 0));
			if (converted && k % 3 == 2) {
				map = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
				holds(map != MAP_FAILED);
				map[sizes[k] / 3] = 'm';
				must(munmap(map, PAGE));
			}
			put_at(fd, data, 3, sizes[k]);
			if (converted && k % 4 == 3 && fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 1, 20) < 0)
				holds(errno == EOPNOTSUPP);
			must(ftruncate(fd, sizes[k] - sizes[k] / 4));
			close(fd);
		}
	}
	/* Folders that outgrow their inodes, with folders in them that do not, and that move. */
	for (i = 0; i < 40; i++) {
		sprintf(name, "d%zu", i % 8);
		if (i < 8)
			must(mkdir(name, 0755));
		sprintf(name, "d%zu/inner%zu", i % 8, i);
		must(mkdir(name, 0700));
		sprintf(name + strlen(name), "/f");
		close(make_file(name, i, 'f'));
		sprintf(name, "d%zu/%.*s", i % 8, (int)i + 1, "a-name-that-takes-the-more-room-the-longer");
		close(make_file(name, 70, 'n'));
	}
	for (i = 0; i < 40; i += 3) {
		char to[60];

		sprintf(name, "d%zu/inner%zu", i % 8, i);
		sprintf(to, "d%zu/moved%zu", (i + 3) % 8, i);
		must(rename(name, to));
		sprintf(to + strlen(to), "/f");
		must(unlink(to));
	}
}

void case_small(void)
{
	small(0);
}

void case_small_mapped(void)
{
	small(1);
}
