// SPDX-License-Identifier: MIT
/*
 * Races whose order the result tells: order MODE TRIALS SEED
 *
 * WORKERS processes meet at a barrier, pause for a random while, and do what
 * only one of them can do last. Every trial leaves a result of its own behind:
 * a rebuilt disk that has them all has every order right. The last line printed
 * says how often each worker was last, since a race that always has the same
 * winner is none.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORKERS 4
#define PAGE 4096
/* Bytes that one trial of "overlap" has for itself: no multiple of a page. */
#define REGION 1500
#define CUT_BYTES (2 * PAGE)

struct shared {
	pthread_barrier_t start, end;
	int won[WORKERS + 1]; /* the last: nobody */
};

static struct shared *shared;
static int self, trials, fd = -1;
static uint64_t state;
static sigjmp_buf cut_off;

static void die(const char *what)
{
	perror(what);
	exit(1);
}

/* xorshift64; never 0 */
static unsigned int below(unsigned int n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

static void pause_a_while(void)
{
	volatile unsigned int spin = below(4) ? below(3000) : below(60000);

	while (spin)
		spin--;
	if (!below(16))
		usleep(below(300));
}

static void open_shared(const char *name, int flags)
{
	fd = open(name, O_CREAT | O_RDWR | flags, 0644);
	if (fd < 0)
		die(name);
}

static void win(int worker)
{
	shared->won[worker]++;
}

/* --- racing appends to one file --- */

static void append_set_up(void)
{
	open_shared("append", O_APPEND);
}

static void append_race(int trial)
{
	char text[80];
	int len = sprintf(text, "%d %c %.*s\n", trial, 'a' + self, (int)below(50),
			  "----------------------------------------------------");

	if (write(fd, text, len) != len)
		die("append");
}

static void append_judge(int trial)
{
	char tail[200];
	struct stat st;
	int at;

	(void)trial;
	if (fstat(fd, &st) || pread(fd, tail, 100, st.st_size - 100 > 0 ? st.st_size - 100 : 0) < 1)
		die("append: read");
	at = (st.st_size < 100 ? st.st_size : 100) - 1;
	while (at && tail[at - 1] != '\n')
		at--;
	win(strchr(tail + at, ' ')[1] - 'a');
}

/* --- overlapping writes --- */

static void overlap_set_up(void)
{
	open_shared("overlap", 0);
}

static void overlap_race(int trial)
{
	char data[REGION];
	int from = below(REGION / 2), len = REGION / 2 - from + 1 + below(REGION / 2 - 1);

	memset(data, 'a' + self, sizeof(data));
	if (pwrite(fd, data, len, (off_t)trial * REGION + from) != len)
		die("overlap");
}

static void overlap_judge(int trial)
{
	char middle;

	if (pread(fd, &middle, 1, (off_t)trial * REGION + REGION / 2) != 1)
		die("overlap: read");
	win(middle - 'a');
}

/* --- names: each worker has a file, and links of it race for a name --- */

static struct stat files[WORKERS];

static void names_set_up(void)
{
	char name[20];
	int i, made;

	for (i = 0; i < WORKERS; i++) {
		sprintf(name, "file%d", i);
		made = open(name, O_CREAT | O_WRONLY, 0644);
		if (made < 0 || fstat(made, &files[i]))
			die(name);
		close(made);
	}
	if ((mkdir("r", 0755) || mkdir("l", 0755)) && self == 0)
		return; /* all of them try */
}

static void judge_name(const char *name)
{
	struct stat st;
	int i;

	if (stat(name, &st)) {
		win(WORKERS);
		return;
	}
	for (i = 0; i < WORKERS; i++)
		if (st.st_ino == files[i].st_ino)
			win(i);
}

static void rename_race(int trial)
{
	char own[30], file[20], target[30];

	sprintf(own, "r/own%d-%d", self, trial);
	sprintf(file, "file%d", self);
	sprintf(target, "r/%d", trial);
	if (link(file, own))
		die(own);
	pause_a_while();
	if (below(3) || renameat2(AT_FDCWD, own, AT_FDCWD, target, RENAME_EXCHANGE))
		if (rename(own, target))
			die(target);
}

static void rename_judge(int trial)
{
	char name[30];

	sprintf(name, "r/%d", trial);
	judge_name(name);
}

static void links_race(int trial)
{
	char file[20], name[30];
	int i;

	sprintf(file, "file%d", self);
	sprintf(name, "l/%d", trial);
	for (i = 0; i < 3; i++) {
		if (below(3) ? link(file, name) : unlink(name))
			continue; /* it was there, or was not */
	}
}

static void links_judge(int trial)
{
	char name[30];

	sprintf(name, "l/%d", trial);
	judge_name(name);
}

/* --- one is cut while others write to it and store to it --- */

static void on_bus(int signal)
{
	siglongjmp(cut_off, signal);
}

static void truncate_set_up(void)
{
	signal(SIGBUS, on_bus);
	if (mkdir("t", 0755) && self == 0)
		return; /* all of them try */
}

static void store(char *map)
{
	volatile int i = 1 + below(6);

	if (sigsetjmp(cut_off, 1))
		return;
	for (; i; i--) {
		map[below(CUT_BYTES)] = 'A' + self;
		if (!below(4))
			getppid();
	}
}

static void truncate_race(int trial)
{
	static char data[CUT_BYTES];
	char name[30], *map;
	int what = below(3), from = below(CUT_BYTES - 1);

	sprintf(name, "t/%d", trial);
	fd = open(name, O_CREAT | O_RDWR, 0644);
	if (fd < 0)
		die(name);
	if (what == 0 && ftruncate(fd, below(CUT_BYTES)))
		die("ftruncate");
	memset(data, 'a' + self, sizeof(data));
	if (what == 1 && pwrite(fd, data, 1 + below(CUT_BYTES - from), from) < 0)
		die("pwrite");
	if (what == 2) {
		map = mmap(NULL, CUT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
		if (map == MAP_FAILED)
			die("mmap");
		store(map);
		munmap(map, CUT_BYTES);
	}
	close(fd);
}

/* By the byte in the middle, which may have been cut away. */
static void truncate_judge(int trial)
{
	char name[30], middle;
	int file;

	sprintf(name, "t/%d", trial);
	file = open(name, O_RDONLY);
	if (file < 0)
		die(name);
	if (pread(file, &middle, 1, CUT_BYTES / 2) != 1 || !middle)
		win(WORKERS);
	else
		win((middle | 0x20) - 'a');
	close(file);
}

static const struct mode {
	const char *name;
	void (*set_up)(void), (*race)(int trial), (*judge)(int trial);
} modes[] = {
	{ "append", append_set_up, append_race, append_judge },
	{ "overlap", overlap_set_up, overlap_race, overlap_judge },
	{ "rename", names_set_up, rename_race, rename_judge },
	{ "links", names_set_up, links_race, links_judge },
	{ "truncate", truncate_set_up, truncate_race, truncate_judge },
};

static void work(const struct mode *mode, uint64_t seed)
{
	int trial;

	state = seed * 1000003 + self * 7919 + 1;
	mode->set_up();
	for (trial = 0; trial < trials; trial++) {
		pthread_barrier_wait(&shared->start);
		pause_a_while();
		mode->race(trial);
		pthread_barrier_wait(&shared->end);
		if (self == trial % WORKERS)
			mode->judge(trial);
	}
}

int main(int argc, char **argv)
{
	const struct mode *mode = NULL;
	pthread_barrierattr_t attr;
	int i, status, failed = 0;

	for (i = 0; argc == 4 && i < (int)(sizeof(modes) / sizeof(modes[0])); i++)
		if (!strcmp(modes[i].name, argv[1]))
			mode = &modes[i];
	if (!mode) {
		fprintf(stderr, "usage: order MODE TRIALS SEED\n");
		return 2;
	}
	trials = atoi(argv[2]);
	setpgid(0, 0);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (shared == MAP_FAILED)
		die("mmap");
	pthread_barrierattr_init(&attr);
	pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
	pthread_barrier_init(&shared->start, &attr, WORKERS);
	pthread_barrier_init(&shared->end, &attr, WORKERS);
	for (self = 0; self < WORKERS; self++) {
		if (fork())
			continue;
		work(mode, strtoull(argv[3], NULL, 0));
		_exit(0);
	}
	while (wait(&status) > 0) {
		if (!status || failed)
			continue;
		/* The others would wait at the barrier for ever. */
		failed = 1;
		signal(SIGTERM, SIG_IGN);
		kill(0, SIGTERM);
	}
	printf("%s %d", mode->name, trials);
	for (i = 0; i <= WORKERS; i++)
		printf(" %d", shared->won[i]);
	printf("\n");
	return failed;
}
