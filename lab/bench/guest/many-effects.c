// SPDX-License-Identifier: MIT
/*
 * Many small effects, to measure the way back: files are created, written,
 * renamed, linked, changed and removed, so that a bounded number of them lives.
 *
 *   many-effects FOLDER SEED ROUNDS
 *
 * A round makes about nine effects. LIVE files and FOLDERS folders exist at any time.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIVE 3000
#define FOLDERS 40

static uint64_t state;

static uint32_t draw(uint32_t below)
{
	state = state * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(state >> 33) % below;
}

static void must(int result, const char *doing, const char *name)
{
	if (result >= 0)
		return;
	fprintf(stderr, "many-effects: %s %s: %m\n", doing, name);
	exit(1);
}

static void name_of(char *to, size_t room, const char *folder, const char *kind, uint32_t number)
{
	snprintf(to, room, "%s/d%u/%s%u", folder, number % FOLDERS, kind, number);
}

int main(int argc, char **argv)
{
	static char data[8192];
	char a[256], b[256];
	uint32_t rounds, i;
	int fd;

	if (argc != 4) {
		fprintf(stderr, "usage: many-effects FOLDER SEED ROUNDS\n");
		return 2;
	}
	state = strtoull(argv[2], NULL, 10);
	rounds = strtoul(argv[3], NULL, 10);
	must(mkdir(argv[1], 0755), "mkdir", argv[1]);
	for (i = 0; i < FOLDERS; i++) {
		snprintf(a, sizeof(a), "%s/d%u", argv[1], i);
		must(mkdir(a, 0755), "mkdir", a);
	}
	for (i = 0; i < sizeof(data); i++)
		data[i] = 'a' + draw(26);
	for (i = 0; i < rounds; i++) {
		name_of(a, sizeof(a), argv[1], "new", i);
		name_of(b, sizeof(b), argv[1], "f", i);
		fd = open(a, O_CREAT | O_EXCL | O_RDWR, 0644);
		must(fd, "create", a);
		must(write(fd, data + draw(4096), 1 + draw(600)), "write", a);
		must(pwrite(fd, data + draw(4096), 1 + draw(100), draw(5000)), "pwrite", a);
		close(fd);
		must(rename(a, b), "rename", b);
		if (draw(8) == 0)
			must(chmod(b, 0600 | draw(0177)), "chmod", b);
		if (draw(16) == 0) {
			name_of(a, sizeof(a), argv[1], "link", i);
			must(link(b, a), "link", a);
		}
		if (i < LIVE)
			continue;
		name_of(a, sizeof(a), argv[1], "f", i - LIVE);
		must(unlink(a), "unlink", a);
		name_of(a, sizeof(a), argv[1], "link", i - LIVE);
		unlink(a);
	}
	return 0;
}
