// SPDX-License-Identifier: MIT
/* calls: makes system calls until it is killed, cheap ones and ones that touch files. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct stat st;
	char byte = 'x';
	int fd;

	if (argc != 2)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0600);
	if (fd < 0) {
		perror(argv[1]);
		return 1;
	}
	for (unsigned int i = 0;; i++) {
		getppid();
		fstat(fd, &st);
		if (i % 16 == 0 && pwrite(fd, &byte, 1, i % 8192) != 1)
			return 1;
	}
}
