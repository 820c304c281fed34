// SPDX-License-Identifier: MIT
/* System calls that store to the mapping: what they return into it must be there. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "ways.h"

#define LEN (16 * PAGE)

WAY("map-kernel-stores")
{
	int from = make_file("from", 4 * PAGE), fd = make_file("f", LEN), pair[2], ends[2];
	int dir = need(open(".", O_RDONLY | O_DIRECTORY)), proc = need(open("/proc/self/stat", O_RDONLY));
	char *map = map_file(fd, LEN), text[2 * PAGE];

	need(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
	need(pipe(ends));
	do {
		char *to = map + below(LEN - 2 * PAGE - 8);
		struct iovec iov[2] = { { to, 100 }, { to + PAGE, 300 } };

		must(pread(from, to, PAGE + 1, below(PAGE)) == PAGE + 1);
		must(preadv(from, iov, 2, 5) == 400);
		/* From the file into itself. */
		must(pread(fd, map + below(3 * PAGE), PAGE, 8 * PAGE + below(PAGE)) == PAGE);
		must(getrandom(map + below(LEN - 100), 100, 0) == 100);
		fill(text, 10);
		must(send(pair[0], text, 5000, 0) == 5000);
		must(recv(pair[1], map + below(LEN - 5000), 5000, 0) == 5000);
		must(write(ends[1], text, 700) == 700);
		must(read(ends[0], map + below(LEN - 700), 700) == 700);
		need(lseek(dir, 0, SEEK_SET));
		must(syscall(SYS_getdents64, dir, map + 8 * below(LEN / 8 - 64), 512) > 0);
		must(pread(proc, map + below(LEN - 512), 512, 0) > 0);
		must(syscall(SYS_clock_gettime, CLOCK_REALTIME, map + 16 * below(LEN / 16)) == 0);
		need(fstat(fd, (struct stat *)(map + 16 * below(LEN / 16 - 16))));
		must(syscall(SYS_getcwd, map + below(LEN - 200), 200) > 0);
	} while (going());
}
