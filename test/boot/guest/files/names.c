// SPDX-License-Identifier: MIT
/* Names of any byte, and folders that are deep or huge. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files.h"

#define NAME_BYTES 255
#define HUGE_NAMES 100000
#define LINKS_MAX 65000 /* EXT4_LINK_MAX */

static void bytes_of_one_kind(int byte)
{
	char name[8], other[8];

	snprintf(name, sizeof(name), "x%cy", byte);
	close(make_file(name, byte, byte));
	snprintf(other, sizeof(other), "%c", byte);
	if (byte != '.')
		must(symlink(name, other));
	switch (byte % 4) {
	case 0:
		snprintf(other, sizeof(other), "%c%c%c", byte, byte, byte);
		must(rename(name, other));
		break;
	case 1:
		must(unlink(name));
		must(mkdir(name, 0700));
		break;
	case 2:
		snprintf(other, sizeof(other), "d%c", byte);
		must(link(name, other));
		break;
	}
}

void case_bytes(void)
{
	static const char *const odd[] = {
		"\xff\xfe", "\xc3\x28", "\xc0\xaf", "\xed\xa0\x80", "\xf8\x88\x80\x80\x80",
		"line\nline", "tab\tab", "cr\rlf", "...", " ", "%41", "a=b,c", "\x01", "\x7f",
		"-rf", "*", "$(x)", "\"'\\", "e\xcc\x81", "\xc3\xa9", "\xef\xbb\xbf" "bom",
	};
	char name[NAME_BYTES + 2];
	size_t i;
	int byte;

	must(mkdir("single", 0755));
	must(chdir("single"));
	for (byte = 1; byte < 256; byte++)
		if (byte != '/')
			bytes_of_one_kind(byte);
	must(chdir(".."));
	for (i = 0; i < COUNT(odd); i++) {
		close(make_file(odd[i], 1 + i, 'o'));
		if (i % 3 == 0)
			must(rename(odd[i], strcat(strcpy(name, odd[i]), "\n")));
	}
	memset(name, 0, sizeof(name));
	for (byte = 1; byte < 256; byte++) {
		memset(name, byte == '/' ? '\\' : byte, NAME_BYTES);
		name[NAME_BYTES - 1] = byte == '/' ? 1 : 2;
		close(make_file(name, 1, byte));
	}
	pattern(name, NAME_BYTES, 3);
	for (i = 0; i < NAME_BYTES; i++)
		if (!name[i] || name[i] == '/')
			name[i] = 'n';
	must(mkdir(name, 0711));
	name[NAME_BYTES] = 'z';
	refused(mkdir(name, 0711), ENAMETOOLONG);
}

/* Below a path that no single call can name. */
static void go_down(const char *name, int levels, int every)
{
	int i, fd;

	for (i = 0; i < levels; i++) {
		must(mkdir(name, 0755));
		must(chdir(name));
		if (i % every == 0) {
			fd = make_file("f", 10 + i, 'd');
			close(fd);
		}
	}
}

void case_deep(void)
{
	char name[NAME_BYTES + 1], path[80];
	int top = must(open(".", O_RDONLY | O_DIRECTORY)), bottom, i;

	memset(name, 'n', NAME_BYTES);
	name[NAME_BYTES] = 0;
	go_down(name, 60, 7); /* 15,360 bytes */
	bottom = must(open(".", O_RDONLY | O_DIRECTORY));
	must(fchdir(top));
	must(mkdir("thin", 0755));
	must(chdir("thin"));
	go_down("t", 5000, 100);
	must(symlink("../../../..", "up"));
	/* Moves a branch while its depths stay open. */
	must(fchdir(top));
	must(rename(name, "moved"));
	i = must(openat(bottom, "later", O_CREAT | O_WRONLY, 0600));
	put_at(i, "later", 5, 3);
	close(i);
	must(renameat(top, "thin/t/t/t/t", bottom, "branch"));
	must(mkdirat(bottom, "branch/here", 0700));
	/* A name through /proc leads to the depths at once. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/through", bottom);
	must(symlink("x", path));
}

static void huge_name(char *name, int i)
{
	sprintf(name, "huge/%06d-%.*s", i, i % 40, "a-name-of-a-length-that-differs-from-time");
}

/* Links instead of inodes: the names are many, and one inode comes to its limit. */
void case_huge(void)
{
	char name[80], other[80];
	int i, last = 0;

	must(mkdir("huge", 0755));
	close(make_file("one", 5000, '1'));
	close(make_file("two", 100, '2'));
	for (i = 0; i < HUGE_NAMES; i++) {
		huge_name(name, i);
		if (i < LINKS_MAX - 1)
			must(link("one", name));
		else if (i % 50)
			must(link("two", name));
		else
			close(make_file(name, i % 100, 'h'));
	}
	refused(link("one", "one-too-many"), EMLINK);
	for (i = 0; i < HUGE_NAMES; i += 2) {
		huge_name(name, i);
		must(unlink(name));
	}
	must(link("one", "not-too-many"));
	for (i = 1; i < HUGE_NAMES; i += 10) {
		huge_name(name, i);
		sprintf(other, "huge/renamed-%d", i);
		must(rename(name, other));
	}
	/* Over others, which goes on until one inode has few names. */
	for (i = 3; i < HUGE_NAMES; i += 10) {
		huge_name(name, i);
		huge_name(other, HUGE_NAMES - 1 - last);
		last += 10;
		if (rename(name, other))
			holds(errno == ENOENT);
	}
}
