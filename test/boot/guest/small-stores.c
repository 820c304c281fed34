// SPDX-License-Identifier: MIT
// Stores single bytes into a shared mapping of a file, each followed by a system
// call. Usage: small-stores FILE STORES
#include <err.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096
#define PAGES 8

int main(int argc, char **argv)
{
	char page[PAGE], *map;
	int fd;

	if (argc != 3)
		errx(2, "usage: small-stores FILE STORES");
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	memset(page, 'p', sizeof(page));
	for (int i = 0; i < PAGES; i++)
		if (write(fd, page, PAGE) != PAGE)
			err(1, "%s", argv[1]);
	map = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED)
		err(1, "mmap");
	for (int i = 0; i < atoi(argv[2]); i++) {
		map[i % PAGES * PAGE + i * 37 % PAGE] = i;
		getppid();
	}
	return 0;
}
