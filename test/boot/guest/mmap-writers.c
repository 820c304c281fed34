// SPDX-License-Identifier: MIT
// Several processes store random words into one shared mapping, while marks are
// taken at random instants; one more truncates and extends the file's tail.
// Usage: mmap-writers FILE SEED PROCESSES MARKS
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define PAGES 96
#define PAGE 4096
#define TAIL (PAGES * PAGE)

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void store(const char *file, unsigned int seed)
{
	unsigned int *words;
	int fd = open(file, O_RDWR);

	if (fd < 0)
		die(file);
	words = mmap(NULL, TAIL, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (words == MAP_FAILED)
		die("mmap");
	for (;;) {
		size_t at = (size_t)rand_r(&seed) % (TAIL / sizeof(*words));

		words[at] = (unsigned int)rand_r(&seed);
		if (rand_r(&seed) % 4096 == 0)
			msync(words, TAIL, rand_r(&seed) % 2 ? MS_SYNC : MS_ASYNC);
		if (rand_r(&seed) % 8192 == 0)
			usleep(1000);
	}
}

static void tail(const char *file, unsigned int seed)
{
	int fd = open(file, O_RDWR);

	if (fd < 0)
		die(file);
	for (;;) {
		off_t size = TAIL + rand_r(&seed) % (8 * PAGE);

		if (ftruncate(fd, size))
			die("ftruncate");
		if (pwrite(fd, &seed, sizeof(seed), TAIL + rand_r(&seed) % PAGE) < 0)
			die("pwrite");
		usleep(2000 + rand_r(&seed) % 4000);
	}
}

int main(int argc, char **argv)
{
	int processes, marks, fd;
	unsigned int seed;
	pid_t pids[65];

	if (argc != 5)
		return 2;
	seed = (unsigned int)atoi(argv[2]);
	processes = atoi(argv[3]);
	marks = atoi(argv[4]);
	if (processes < 1 || processes > 64)
		return 2;
	fd = open(argv[1], O_RDWR | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || ftruncate(fd, TAIL))
		die(argv[1]);
	for (int i = 0; i <= processes; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0) {
			if (i == processes)
				tail(argv[1], seed + 1000);
			else
				store(argv[1], seed + (unsigned int)i);
			_exit(0);
		}
	}
	for (int i = 0; i < marks; i++) {
		char command[64];

		usleep(20000 + rand_r(&seed) % 200000);
		snprintf(command, sizeof(command), "lemona-mark m%d", i);
		if (system(command)) {
			fprintf(stderr, "%s failed\n", command);
			return 1;
		}
	}
	for (int i = 0; i <= processes; i++) {
		int status;

		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
		if (WIFEXITED(status) && WEXITSTATUS(status))
			return 1;
	}
	return 0;
}
