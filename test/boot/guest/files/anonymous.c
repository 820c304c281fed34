// SPDX-License-Identifier: MIT
/* Files without a name: not yet, no longer, or never. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#include "files.h"

static int nameless(int flags)
{
	return must(open(".", O_TMPFILE | O_RDWR | flags, 0640));
}

static void give_name(int fd, const char *name)
{
	char from[40];

	sprintf(from, "/proc/self/fd/%d", fd);
	must(linkat(AT_FDCWD, from, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
}

static void not_yet(void)
{
	int fd = nameless(0), flags = FS_NODUMP_FL;
	char data[2 * PAGE];

	pattern(data, sizeof(data), 5);
	put_at(fd, data, sizeof(data), 100);
	must(fsetxattr(fd, "user.early", "value", 5, 0));
	must(fchown(fd, 7, 8));
	must(fchmod(fd, 04711));
	must(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	give_name(fd, "named");
	put_at(fd, "later", 5, 9);
	give_name(fd, "named-twice");
	must(unlink("named"));
	close(fd);
	fd = nameless(O_EXCL);
	put_at(fd, data, 50, 0);
	must(ftruncate(fd, 20));
	sprintf(data, "/proc/self/fd/%d", fd);
	refused(linkat(AT_FDCWD, data, AT_FDCWD, "never", AT_SYMLINK_FOLLOW), ENOENT);
	close(fd);
}

static void no_longer(void)
{
	int fd = make_file("deleted", 3 * PAGE, 'd'), dir;
	char *map = mmap(NULL, 3 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0), from[40];

	holds(map != MAP_FAILED);
	must(unlink("deleted"));
	put_at(fd, "still written", 13, PAGE);
	map[2 * PAGE] = 'm';
	must(ftruncate(fd, 10 * PAGE));
	must(fallocate(fd, 0, 20 * PAGE, PAGE));
	must(fsetxattr(fd, "user.late", "v", 1, 0));
	must(fchmod(fd, 0600));
	must(fsync(fd));
	sprintf(from, "/proc/self/fd/%d", fd);
	refused(linkat(AT_FDCWD, from, AT_FDCWD, "back", AT_SYMLINK_FOLLOW), ENOENT);
	/* Its name goes on with another inode. */
	close(make_file("deleted", 10, 'n'));
	map[1] = 'x';
	must(munmap(map, 3 * PAGE));
	close(fd);
	must(mkdir("gone", 0755));
	dir = must(open("gone", O_RDONLY | O_DIRECTORY));
	must(rmdir("gone"));
	refused(openat(dir, "f", O_CREAT | O_WRONLY, 0600), ENOENT);
	refused(mkdirat(dir, "d", 0700), ENOENT);
	must(fchmod(dir, 0711));
	close(dir);
	/* Replaced while it is open. */
	fd = make_file("replaced", 100, 'r');
	close(make_file("new", 50, 'w'));
	must(rename("new", "replaced"));
	put_at(fd, "lost", 4, 30);
	close(fd);
}

void case_anonymous(void)
{
	not_yet();
	no_longer();
}

#define GO SIGUSR1
#define PID_FILE "/run/held.pid"

/* Leaves a process behind that keeps three nameless files over the next mark. */
void case_held(void)
{
	int fds[3] = { nameless(0), nameless(0), make_file("unlinked", PAGE, 'u') }, i;
	sigset_t set;
	FILE *file;

	must(unlink("unlinked"));
	for (i = 0; i < 3; i++)
		put_at(fds[i], "before the mark", 15, i * PAGE);
	sigemptyset(&set);
	sigaddset(&set, GO);
	must(sigprocmask(SIG_BLOCK, &set, NULL));
	if (must(fork()))
		return;
	must(setsid());
	file = fopen(PID_FILE ".new", "w");
	holds(file != NULL);
	fprintf(file, "%d\n", getpid());
	fclose(file);
	must(rename(PID_FILE ".new", PID_FILE));
	if (sigwaitinfo(&set, NULL) < 0)
		_exit(1);
	for (i = 0; i < 3; i++)
		put_at(fds[i], "after the mark", 14, i * PAGE + 30);
	give_name(fds[0], "released");
	must(unlink(PID_FILE));
	_exit(0);
}

void case_released(void)
{
	int pid, tries;
	FILE *file = NULL;

	for (tries = 0; !file && tries < 1000; tries++) {
		file = fopen(PID_FILE, "r");
		if (!file)
			usleep(10000);
	}
	holds(file != NULL && fscanf(file, "%d", &pid) == 1);
	fclose(file);
	must(kill(pid, GO));
	for (tries = 0; access(PID_FILE, F_OK) == 0 && tries < 1000; tries++)
		usleep(10000);
	holds(access(PID_FILE, F_OK) < 0);
}
