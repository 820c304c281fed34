// SPDX-License-Identifier: MIT
/* What a program may do with its mapping. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "ways.h"

#define PAGES 32
#define LEN (PAGES * PAGE)

WAY("map-msync")
{
	static const int flags[] = { MS_SYNC, MS_ASYNC, MS_ASYNC | MS_INVALIDATE, MS_SYNC | MS_INVALIDATE };
	char *map = map_file(make_file("f", LEN), LEN);

	do {
		for (int i = 0; i < 50; i++)
			map[below(LEN)] = below(256);
		need(msync(map + PAGE * below(PAGES / 2), PAGE * (1 + below(PAGES / 2)), flags[below(4)]));
	} while (going());
}

WAY("map-munmap")
{
	int fd = make_file("f", LEN);

	do {
		char *map = map_file(fd, LEN);

		for (int i = 0; i < 40; i++)
			map[below(LEN)] = below(256);
		/* In two parts, the middle first. */
		need(munmap(map + 8 * PAGE, 8 * PAGE));
		map[below(8 * PAGE)] = 1;
		map[LEN - 1] = below(256);
		need(munmap(map, LEN));
	} while (going());
}

WAY("map-remap")
{
	int fd = make_file("f", LEN);
	char *map = map_file(fd, LEN / 2);

	do {
		fill(map, 500);
		map = (char *)need(mremap(map, LEN / 2, LEN, MREMAP_MAYMOVE));
		for (int i = 0; i < 50; i++)
			map[below(LEN)] = below(256);
		/* Moved away, then a second mapping of the same pages: an old size of 0. */
		char *there = (char *)need(mmap(NULL, LEN, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

		map = (char *)need(mremap(map, LEN, LEN, MREMAP_MAYMOVE | MREMAP_FIXED, there));
		map[below(LEN)] = below(256);
		char *twin = (char *)need(mremap(map, 0, LEN, MREMAP_MAYMOVE));

		twin[below(LEN)] = map[below(LEN)] + 1;
		map[below(LEN)] = twin[below(LEN)] + 1;
		need(munmap(twin, LEN));
		map = (char *)need(mremap(map, LEN, LEN / 2, 0));
	} while (going());
}

/* Pages in another order than the file has them. */
WAY("map-nonlinear")
{
	char *map = map_file(make_file("f", LEN), LEN);

	for (int i = 0; i < PAGES; i++)
		need(syscall(SYS_remap_file_pages, map + i * PAGE, PAGE, 0, PAGES - 1 - i, 0));
	for (int i = 0; i < PAGES; i++)
		memset(map + i * PAGE + i, 'a' + i % 26, 100);
}

WAY("map-advise")
{
	char *map = map_file(make_file("f", LEN), LEN);

	do {
		unsigned int page = below(PAGES - 4);
		static const int advice[] = { MADV_DONTNEED, MADV_REMOVE, MADV_PAGEOUT, MADV_COLD,
					      MADV_WILLNEED, MADV_POPULATE_WRITE, MADV_POPULATE_READ };

		for (int i = 0; i < 50; i++)
			map[below(LEN)] = below(256);
		need(madvise(map + page * PAGE, PAGE * (1 + below(4)), advice[below(7)]));
		map[page * PAGE] = below(256);
	} while (going());
}

WAY("map-protect")
{
	char *map = map_file(make_file("f", LEN), LEN);

	do {
		for (int i = 0; i < 20; i++)
			map[below(LEN)] = below(256);
		need(mprotect(map, LEN / 2, PROT_READ));
		map[LEN / 2 + below(LEN / 2)] = below(256);
		if (below(2))
			sched_yield();
		need(mprotect(map, LEN / 2, PROT_READ | PROT_WRITE));
		for (int i = 0; i < 20; i++)
			map[below(LEN / 2)] = below(256);
	} while (going());
}

/* A private mapping changes no file. One that is locked changes as others do. */
WAY("map-private")
{
	int fd = make_file("f", LEN);
	char *own = (char *)need(mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
	char *map = map_file(fd, LEN);

	need(mlock(map, LEN));
	do {
		own[below(LEN)] = below(256);
		map[below(LEN)] = below(256);
	} while (going());
}

/* Back to what it was, within one time slice and over several. */
WAY("map-undo")
{
	char *map = map_file(make_file("f", LEN), LEN);

	do {
		for (int i = 0; i < 100; i++) {
			volatile char *at = map + below(LEN);
			char old = *at;

			*at = old + 1;
			if (below(10) == 0)
				sched_yield();
			*at = old;
		}
	} while (going());
}

/* One file by two names, mapped shared by each. */
WAY("map-hard-link")
{
	char *one = map_file(make_file("f", LEN), LEN), *two;

	need(link("f", "g"));
	two = map_file(need(open("g", O_RDWR)), LEN);
	need(unlink("f"));
	do {
		one[below(LEN)] = below(256);
		two[below(LEN)] = below(256);
	} while (going());
}

/* Its last name goes while it is mapped; a nameless one gets its first. */
WAY("map-nameless")
{
	int gone = make_file("gone", LEN), born = need(open(".", O_TMPFILE | O_RDWR, 0600));
	char *map = map_file(gone, LEN), *mapped;

	need(unlink("gone"));
	need(ftruncate(born, LEN));
	mapped = map_file(born, LEN);
	for (int i = 0; i < 200; i++) {
		map[below(LEN)] = below(256);
		mapped[below(LEN)] = below(256);
	}
	need(linkat(born, "", AT_FDCWD, "born", AT_EMPTY_PATH));
	do {
		map[below(LEN)] = below(256);
		mapped[below(LEN)] = below(256);
	} while (going());
}

/* Neither an open descriptor nor a permission is needed any more. */
WAY("map-after-close")
{
	int fd = make_file("f", LEN);
	char *map = map_file(fd, LEN);

	need(close(fd));
	need(chmod("f", 0400));
	do {
		map[below(LEN)] = below(256);
	} while (going());
}
