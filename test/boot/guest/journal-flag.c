// SPDX-License-Identifier: MIT
/*
 * A thread stores into all pages of a mapped file and punches them out again;
 * meanwhile the file's content goes through the journal, and does not.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define BYTES (1L << 20)
#define PAGE 4096
#define TURNS 2000

static int file;
static char *map;

static void *store(void *unused)
{
	for (;;) {
		for (long at = 0; at < BYTES; at += PAGE)
			map[at] = 1;
		if (fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, BYTES)) {
			perror("fallocate");
			exit(1);
		}
	}
	return unused;
}

int main(void)
{
	pthread_t thread;
	int flags;

	file = open("/root/stored", O_RDWR | O_CREAT, 0600);
	if (file < 0 || ftruncate(file, BYTES) || ioctl(file, FS_IOC_GETFLAGS, &flags)) {
		perror("/root/stored");
		return 1;
	}
	map = mmap(NULL, BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (map == MAP_FAILED || pthread_create(&thread, NULL, store, NULL)) {
		perror("storing");
		return 1;
	}
	for (int i = 0; i < TURNS; i++) {
		flags ^= FS_JOURNAL_DATA_FL;
		if (ioctl(file, FS_IOC_SETFLAGS, &flags)) {
			perror("FS_IOC_SETFLAGS");
			return 1;
		}
		usleep(random() % 20000);
	}
	return 0;
}
