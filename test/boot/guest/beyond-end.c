// SPDX-License-Identifier: MIT
/*
 * A page behind the end of a file that the kernel fills with what is before it.
 * A fault has decided to read pages of a file, and waits; meanwhile the file
 * becomes shorter, and its last blocks move into the page before. Then the file
 * grows again, and a byte is stored there. Prints how often there was something
 * in that page that nobody ever put there.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define BLOCK 1024
#define TURNS 300
/* Two blocks with data, whose first moves into the third block of page 7. */
#define DATA (63 * BLOCK + 357)
#define CUT (7 * BLOCK)
#define CUT_BYTES (33 * BLOCK)
#define BEHIND (8 * PAGE)

static sigjmp_buf no_page;
static char *volatile map;
static atomic_int turn, done;

static void on_bus(int signal)
{
	siglongjmp(no_page, signal);
}

static void *touch(void *unused)
{
	for (volatile int i = 1; i <= TURNS; i++) {
		while (turn < i)
			;
		usleep(random() % 500);
		if (!sigsetjmp(no_page, 1))
			(void)*(volatile char *)(map + BEHIND);
		done = i;
	}
	return unused;
}

static void check(int is_good, const char *what)
{
	if (is_good)
		return;
	perror(what);
	exit(1);
}

int main(void)
{
	char data[710], name[20];
	int filled = 0;
	pthread_t thread;

	signal(SIGBUS, on_bus);
	memset(data, 'f', sizeof(data));
	check(!pthread_create(&thread, NULL, touch, NULL), "pthread_create");
	for (int i = 1; i <= TURNS; i++) {
		int file, at = 0;

		sprintf(name, "f%d", i);
		file = open(name, O_RDWR | O_CREAT | O_EXCL, 0644);
		check(pwrite(file, data, sizeof(data), DATA) == sizeof(data), name);
		map = mmap(NULL, DATA + sizeof(data), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
		check(map != MAP_FAILED, "mmap");
		turn = i;
		check(!fallocate(file, FALLOC_FL_COLLAPSE_RANGE, CUT, CUT_BYTES), "fallocate");
		while (done < i)
			usleep(100);
		check(!ftruncate(file, BEHIND + 2 * PAGE), "ftruncate");
		while (at < PAGE && !map[BEHIND + at])
			at++;
		filled += at < PAGE;
		/* Of some, the page gets its blocks by a write. */
		if (i % 3 == 1)
			map[BEHIND + 539] = 'x';
		else if (i % 3 == 2)
			check(pwrite(file, "w", 1, BEHIND + 539) == 1, "pwrite");
		check(!munmap(map, DATA + sizeof(data)) && !close(file), "munmap");
	}
	printf("filled %d of %d\n", filled, TURNS);
	return 0;
}
