// SPDX-License-Identifier: MIT
/*
 * Writes whose source ends early, into new files, while another thread makes
 * the journal commit all the time. Prints the inode and the name of each that
 * reads back another content when its pages have left memory.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096
#define TURNS 400
/* Begins in one block of 1 KiB, and ends in the next one of the same page. */
#define AT (53 * 1024 + 823)
#define THERE 742

static volatile int is_over;

static void check(int is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	exit(1);
}

static void *commit(void *unused)
{
	int file = open("other", O_WRONLY | O_CREAT, 0644);

	check(file >= 0, "other");
	while (!is_over)
		check(pwrite(file, "x", 1, 0) == 1 && !fsync(file), "other");
	close(file);
	return unused;
}

int main(void)
{
	char got[THERE], name[20];
	struct stat st;
	pthread_t thread;
	char *source;

	source = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	check(source != MAP_FAILED && !munmap(source + PAGE, PAGE), "mmap");
	source += PAGE - THERE;
	memset(source, '8', THERE);
	check(!pthread_create(&thread, NULL, commit, NULL), "pthread_create");
	for (int i = 0; i < TURNS; i++) {
		int file;

		sprintf(name, "f%d", i);
		file = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
		check(file >= 0, name);
		check(pwrite(file, source, 8 * PAGE, AT) == THERE, "pwrite");
		check(!fsync(file), "fsync");
		check(!posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise");
		memset(got, 0, sizeof(got));
		check(pread(file, got, THERE, AT) == THERE, "pread");
		check(!fstat(file, &st), "fstat");
		if (memcmp(got, source, THERE))
			printf("lost %lu %s\n", (unsigned long)st.st_ino, name);
		close(file);
	}
	is_over = 1;
	check(!pthread_join(thread, NULL), "pthread_join");
	return 0;
}
