// SPDX-License-Identifier: MIT
/* Every flag of renameat2() with every pair of kinds. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "files.h"

enum kind { FILE_, EMPTY_DIR, FULL_DIR, SYMLINK, FIFO, DEVICE, HARD_LINK, KINDS };

static void make(const char *name, enum kind kind)
{
	char inside[80];

	switch (kind) {
	case FILE_:
		close(make_file(name, strlen(name), name[0]));
		break;
	case EMPTY_DIR:
		must(mkdir(name, 0751));
		break;
	case FULL_DIR:
		must(mkdir(name, 0755));
		snprintf(inside, sizeof(inside), "%s/inside", name);
		close(make_file(inside, 3, 'i'));
		break;
	case SYMLINK:
		must(symlink(name, name));
		break;
	case FIFO:
		must(mkfifo(name, 0640));
		break;
	case DEVICE:
		must(mknod(name, S_IFCHR | 0600, makedev(240, strlen(name))));
		break;
	case HARD_LINK:
		must(link("../linked", name));
		break;
	case KINDS:
		break;
	}
}

static int is_dir(enum kind kind)
{
	return kind == EMPTY_DIR || kind == FULL_DIR;
}

/* What a plain rename over @to answers; 0: success */
static int refusal(enum kind from, enum kind to)
{
	if (is_dir(from) && !is_dir(to))
		return ENOTDIR;
	if (!is_dir(from) && is_dir(to))
		return EISDIR;
	return to == FULL_DIR ? ENOTEMPTY : 0;
}

static void pair(enum kind from, enum kind to, const char *there, unsigned int flags)
{
	int error = flags & RENAME_NOREPLACE ? EEXIST : flags & RENAME_EXCHANGE ? 0 : refusal(from, to);
	char a[40], b[40];

	sprintf(a, "%c%d%d%s", 'a' + flags, from, to, *there ? "-over" : "");
	sprintf(b, "%s%c%d%d-target", there, 'a' + flags, from, to);
	make(a, from);
	make(b, to);
	if (error)
		refused(renameat2(AT_FDCWD, a, AT_FDCWD, b, flags), error);
	else
		must(renameat2(AT_FDCWD, a, AT_FDCWD, b, flags));
	/* To a name that is free. */
	if (error && !(flags & RENAME_EXCHANGE)) {
		strcat(b, "-free");
		must(renameat2(AT_FDCWD, a, AT_FDCWD, b, flags));
	}
}

static void each_pair(const char *there, unsigned int flags)
{
	int from, to;

	for (from = 0; from < KINDS; from++)
		for (to = 0; to < KINDS; to++)
			pair(from, to, there, flags);
}

void case_renames(void)
{
	static const unsigned int flags[] = { 0, RENAME_NOREPLACE, RENAME_EXCHANGE };
	size_t i;

	close(make_file("linked", 20, 'l'));
	must(mkdir("here", 0755));
	must(mkdir("there", 0755));
	must(mkdir("here/other", 0755));
	must(chdir("here"));
	for (i = 0; i < COUNT(flags); i++) {
		each_pair("", flags[i]);
		each_pair("other/", flags[i]);
	}
	must(chdir(".."));
	refused(renameat2(AT_FDCWD, "here", AT_FDCWD, "there", RENAME_EXCHANGE | RENAME_NOREPLACE), EINVAL);
	refused(renameat2(AT_FDCWD, "here", AT_FDCWD, "none", RENAME_EXCHANGE), ENOENT);
	refused(renameat2(AT_FDCWD, "here", AT_FDCWD, "here/other", RENAME_EXCHANGE), EINVAL);
	refused(rename("here", "here/other/below"), EINVAL);
	must(renameat2(AT_FDCWD, "here", AT_FDCWD, "there", RENAME_EXCHANGE));
	must(renameat2(AT_FDCWD, "there/other", AT_FDCWD, "here/up", RENAME_NOREPLACE));
}

/* What overlayfs leaves behind: a device 0:0 under the old name. */
void case_whiteouts(void)
{
	char a[40], b[40];
	int from, to;

	close(make_file("linked", 20, 'l'));
	must(mkdir("w", 0755));
	must(mkdir("w/other", 0755));
	must(chdir("w"));
	for (from = 0; from < KINDS; from++) {
		sprintf(a, "w%d", from);
		sprintf(b, "%sw%d-free", from % 2 ? "other/" : "", from);
		make(a, from);
		must(renameat2(AT_FDCWD, a, AT_FDCWD, b,
			       RENAME_WHITEOUT | (from % 3 ? RENAME_NOREPLACE : 0)));
		for (to = 0; to < KINDS; to++) {
			if (refusal(from, to))
				continue;
			sprintf(a, "v%d%d", from, to);
			sprintf(b, "%sv%d%d-target", to % 2 ? "other/" : "", from, to);
			make(a, from);
			make(b, to);
			must(renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_WHITEOUT));
		}
	}
	/* A whiteout is a name like another. */
	must(chmod("w0", 0644));
	must(rename("w1", "moved-whiteout"));
	must(unlink("w2"));
	must(link("w3", "second-name"));
	refused(renameat2(AT_FDCWD, "other", AT_FDCWD, "w0", RENAME_WHITEOUT | RENAME_EXCHANGE), EINVAL);
}
