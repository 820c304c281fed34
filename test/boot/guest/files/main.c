// SPDX-License-Identifier: MIT
/* files CASE: runs one case of files.h in the current folder. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "files.h"

static const struct {
	const char *name;
	void (*run)(void);
} cases[] = {
	{ "bytes", case_bytes }, { "deep", case_deep }, { "huge", case_huge },
	{ "links", case_links }, { "symlinks", case_symlinks }, { "nodes", case_nodes },
	{ "renames", case_renames }, { "whiteouts", case_whiteouts },
	{ "holes", case_holes }, { "fallocate", case_fallocate },
	{ "anonymous", case_anonymous }, { "held", case_held }, { "released", case_released },
	{ "faults", case_faults }, { "too-big", case_too_big },
	{ "tails", case_tails }, { "blocks", case_blocks }, { "small", case_small },
	{ "small-mapped", case_small_mapped },
	{ "full", case_full }, { "full-mapped", case_full_mapped },
	{ "full-names", case_full_names }, { "full-strays", case_full_strays },
	{ "full-acl", case_full_acl }, { "held-times", case_held_times }, { "held-names", case_held_names },
	{ "own-driver", case_own_driver }, { "forced-read-only", case_forced_read_only },
	{ "terminal", case_terminal }, { "rejected", case_rejected },
	{ "lost-writeback", case_lost_writeback },
	{ "cut-owners", case_cut_owners }, { "cut-inodes", case_cut_inodes },
	{ "xattrs", case_xattrs }, { "big-xattrs", case_big_xattrs }, { "acls", case_acls },
	{ "capabilities", case_capabilities }, { "flags", case_flags },
	{ "half-flags", case_half_flags }, { "projects", case_projects },
	{ "quota", case_quota }, { "setids", case_setids }, { "times", case_times },
	{ "io-errors", case_io_errors }, { "io-errors-direct", case_io_errors_direct },
	{ "io-errors-sync", case_io_errors_sync }, { "io-errors-unasked", case_io_errors_unasked },
	{ "journal-stop", case_journal_stop }, { "journal-abort", case_journal_abort },
};

long check(long result, const char *file, int line, const char *call)
{
	if (result < 0) {
		printf("%s:%d: %s: %s\n", file, line, call, errno ? strerror(errno) : "does not hold");
		exit(1);
	}
	return result;
}

void check_refused(long result, int error, const char *file, int line, const char *call)
{
	if (result < 0 && errno == error)
		return;
	printf("%s:%d: %s: %s, wanted %s\n", file, line, call,
	       result < 0 ? strerror(errno) : "success", strerror(error));
	exit(1);
}

int make_file(const char *name, size_t len, int fill)
{
	int fd = must(open(name, O_CREAT | O_EXCL | O_RDWR, 0644));
	char *data = malloc(len + 1);

	holds(data != NULL);
	memset(data, fill, len);
	put_at(fd, data, len, 0);
	free(data);
	return fd;
}

void put_at(int fd, const void *data, size_t len, off_t pos)
{
	holds(pwrite(fd, data, len, pos) == (ssize_t)len);
}

void pattern(void *to, size_t len, unsigned int seed)
{
	unsigned char *p = to;
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (i * 31 + (i >> 8) * 7 + seed * 101) ^ (i >> 12);
}

int set_flags(const char *name, int flags)
{
	int fd = must(open(name, O_RDONLY | O_NONBLOCK));
	int r = ioctl(fd, FS_IOC_SETFLAGS, &flags);

	close(fd);
	return r;
}

int get_flags(const char *name)
{
	int fd = must(open(name, O_RDONLY | O_NONBLOCK)), flags;

	must(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	close(fd);
	return flags;
}

int main(int argc, char **argv)
{
	size_t i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	umask(022);
	for (i = 0; argc == 2 && i < COUNT(cases); i++) {
		if (strcmp(cases[i].name, argv[1]))
			continue;
		cases[i].run();
		return 0;
	}
	fprintf(stderr, "usage: files CASE\n");
	return 2;
}
