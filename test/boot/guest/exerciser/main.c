// SPDX-License-Identifier: MIT
/*
 * A seeded random exerciser of a file system:
 *   exerciser DIR PROCESSES STEPS SEED [WITHOUT]
 *
 * PROCESSES processes of THREADS threads race on the same few names under DIR.
 * Each step is picked at random from the tables of the other files; failing is
 * part of the game. A thread's choices depend on the seed alone. WITHOUT, as
 * ",mapped,chattr,", names steps to leave out: those of the others stay the
 * same, which helps to find who is to blame.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exerciser.h"

#define THREADS 2
#define STEPS_MAX 64

_Thread_local char buf[BUFFER_BYTES];
_Thread_local sigjmp_buf no_page;
_Thread_local volatile int storing;
static _Thread_local uint64_t state;

static const struct step *steps[STEPS_MAX];
static int step_count, total_weight, steps_wanted, process;
static uint64_t seed;
static const char *without = "";

unsigned int below(unsigned int n)
{
	/* xorshift64; never 0 */
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (state >> 11) % n;
}

const char *name(char *out)
{
	sprintf(out, "d%u/f%u", below(DIRS), below(FILES));
	return out;
}

const char *dir_name(char *out)
{
	sprintf(out, "d%u", below(DIRS));
	return out;
}

size_t fill(void)
{
	size_t n = 1 + below(below(4) ? 3000 : sizeof(buf) - 1);

	memset(buf, 'a' + below(26), n);
	return n;
}

int open_some(int flags)
{
	char a[NAME_ROOM];

	return open(name(a), flags | O_NONBLOCK | O_CLOEXEC, 0600 + below(0200));
}

off_t some_place(void)
{
	static const off_t far[] = { 4294967296, 2199023255552, 4294967000, 17592186040000 };
	unsigned int which = below(200);

	return below(SIZE_MAX_BYTES) + (which < 4 ? far[which] : 0);
}

static void on_bus(int signal)
{
	if (!storing)
		_exit(128 + signal);
	siglongjmp(no_page, signal);
}

static void add_steps(const struct step *from)
{
	for (; from->run; from++) {
		steps[step_count++] = from;
		total_weight += from->weight;
	}
}

static void step(void)
{
	int pick = below(total_weight), i;
	uint64_t before;
	char word[40];

	for (i = 0; pick >= steps[i]->weight; i++)
		pick -= steps[i]->weight;
	/* A step that is left out must not change the choices of the next one. */
	before = state;
	snprintf(word, sizeof(word), ",%s,", steps[i]->name);
	if (!strstr(without, word))
		steps[i]->run();
	state = before;
	below(2);
}

static void *work(void *number)
{
	state = seed * 1000003 + (process * THREADS + (intptr_t)number) * 7919 + 1;
	for (int i = 0; i < 20; i++)
		below(2);
	for (int i = 0; i < steps_wanted; i++)
		step();
	return NULL;
}

static int run_process(void)
{
	pthread_t threads[THREADS];
	intptr_t i;

	signal(SIGBUS, on_bus);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	for (i = 1; i < THREADS; i++)
		if (pthread_create(&threads[i], NULL, work, (void *)i))
			return 1;
	work(NULL);
	for (i = 1; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}

int main(int argc, char **argv)
{
	int status, failed = 0;
	char dir[8];

	if (argc < 5 || argc > 6) {
		fprintf(stderr, "usage: exerciser DIR PROCESSES STEPS SEED [WITHOUT]\n");
		return 2;
	}
	umask(0);
	mkdir(argv[1], 0755);
	if (chdir(argv[1])) {
		perror(argv[1]);
		return 1;
	}
	for (int i = 0; i < DIRS; i++) {
		sprintf(dir, "d%d", i);
		mkdir(dir, 0777);
	}
	add_steps(content_steps);
	add_steps(name_steps);
	add_steps(attribute_steps);
	steps_wanted = atoi(argv[3]);
	seed = strtoull(argv[4], NULL, 0);
	without = argc > 5 ? argv[5] : "";
	for (process = 0; process < atoi(argv[2]); process++)
		if (!fork())
			_exit(run_process());
	while (wait(&status) > 0)
		failed |= status != 0;
	return failed;
}
