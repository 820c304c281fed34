// SPDX-License-Identifier: MIT
/* Pages go from file to pipe to file, and from user memory by vmsplice. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "ways.h"

WAY("splice")
{
	int from = make_file("from", 60000), to = make_file("to", 5000), ends[2];
	loff_t in = 0, out = 777;
	ssize_t n;

	need(pipe(ends));
	while ((n = need(splice(from, &in, ends[1], NULL, 20000, SPLICE_F_MOVE))) > 0) {
		for (ssize_t left = n; left > 0; )
			left -= need(splice(ends[0], NULL, to, &out, left, SPLICE_F_MOVE));
	}
	must(in == 60000 && out == 60777);
}

WAY("tee")
{
	int from = make_file("from", 3000), a = make_file("a", 0), b = make_file("b", 9000), one[2], two[2];
	loff_t in = 0, out = 4000;

	need(pipe(one));
	need(pipe(two));
	must(splice(from, &in, one[1], NULL, 3000, 0) == 3000);
	must(tee(one[0], two[1], 3000, 0) == 3000);
	must(splice(one[0], NULL, a, NULL, 3000, 0) == 3000);
	must(splice(two[0], NULL, b, &out, 3000, 0) == 3000);
}

/* Gifts of a private page and of a page that a file shares, which changes before it is written on. */
WAY("vmsplice")
{
	int mapped = make_file("mapped", 2 * PAGE), to = make_file("to", 10), ends[2];
	char *map = map_file(mapped, 2 * PAGE);
	char *own = (char *)need(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	struct iovec iov[] = { { own, PAGE }, { map, 2 * PAGE } };
	loff_t out = 55;

	fill(own, PAGE);
	need(pipe(ends));
	must(vmsplice(ends[1], iov, 2, SPLICE_F_GIFT) == 3 * PAGE);
	fill(map + 100, 5000);
	for (size_t left = 3 * PAGE; left > 0; )
		left -= need(splice(ends[0], NULL, to, &out, left, SPLICE_F_MOVE));
}

/* The other way: from a pipe into a mapping. */
WAY("vmsplice-into-mapping")
{
	int from = make_file("from", 6000), mapped = make_file("mapped", 3 * PAGE), ends[2];
	char *map = map_file(mapped, 3 * PAGE);
	struct iovec iov = { map + 300, 6000 };
	loff_t in = 0;

	need(pipe(ends));
	must(splice(from, &in, ends[1], NULL, 6000, 0) == 6000);
	must(vmsplice(ends[0], &iov, 1, 0) == 6000);
}
