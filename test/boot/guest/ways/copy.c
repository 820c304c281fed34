// SPDX-License-Identifier: MIT
/* Copies that the kernel makes by itself. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <sys/sendfile.h>
#include <unistd.h>

#include "ways.h"

WAY("sendfile")
{
	int from = make_file("from", 90000), to = make_file("to", 100), ends[2], piped = make_file("piped", 0);
	off_t in = 1234;
	loff_t out = 3;

	need(lseek(to, 50, SEEK_SET));
	must(sendfile(to, from, &in, 80000) == 80000);
	need(pipe(ends));
	in = 0;
	must(sendfile(ends[1], from, &in, 5000) == 5000);
	must(splice(ends[0], NULL, piped, &out, 5000, 0) == 5000);
}

WAY("copy-range")
{
	int from = make_file("from", 90000), to = make_file("to", 100);
	loff_t in = 99, out = 4096;
	size_t left = 70000;

	while (left > 0)
		left -= need(copy_file_range(from, &in, to, &out, left, 0));
	/* Within one file. */
	in = 0;
	out = 50000;
	must(copy_file_range(to, &in, to, &out, 9999, 0) == 9999);
}
