// SPDX-License-Identifier: MIT
/* The mask of lemona-manifest: ranges by path, found by binary search. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mask.h"

struct hidden {
	char *path; /* escaped */
	uint64_t first, end;
};

static struct hidden *mask;
static size_t mask_count;
/* The chosen part. */
static const struct hidden *hidden;
static size_t hidden_count;

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct hidden *)a)->path, ((const struct hidden *)b)->path);
}

static int add(char *line)
{
	static size_t room;
	char *first = strchr(line, '\t'), *end = first ? strchr(first + 1, '\t') : NULL;

	if (!end) {
		errno = EINVAL;
		return -1;
	}
	if (mask_count == room) {
		room = room ? room * 2 : 64;
		mask = realloc(mask, room * sizeof(*mask));
	}
	*first = 0;
	if (mask)
		mask[mask_count].path = strdup(line);
	if (!mask || !mask[mask_count].path) {
		errno = ENOMEM;
		return -1;
	}
	mask[mask_count].first = strtoull(first + 1, NULL, 10);
	mask[mask_count++].end = strtoull(end + 1, NULL, 10);
	return 0;
}

int mask_read(const char *file)
{
	FILE *in = fopen(file, "re");
	char *line = NULL;
	size_t room = 0;
	int r = 0;

	if (!in)
		return -1;
	while (r == 0 && getline(&line, &room, in) > 0)
		r = add(line);
	free(line);
	fclose(in);
	if (r == 0 && mask_count)
		qsort(mask, mask_count, sizeof(*mask), by_path);
	return r;
}

void mask_choose(const char *path)
{
	struct hidden key = { .path = (char *)path }, *found;

	hidden_count = 0;
	found = mask_count ? bsearch(&key, mask, mask_count, sizeof(*mask), by_path) : NULL;
	if (!found)
		return;
	while (found > mask && by_path(found - 1, &key) == 0)
		found--;
	hidden = found;
	for (; found < mask + mask_count && by_path(found, &key) == 0; found++)
		hidden_count++;
}

bool mask_hides(void)
{
	return hidden_count;
}

void mask_hide(unsigned char *data, size_t len, uint64_t at)
{
	size_t i;

	for (i = 0; i < hidden_count; i++) {
		uint64_t first = hidden[i].first, end = hidden[i].end;

		if (first < at)
			first = at;
		if (end > at + len)
			end = at + len;
		if (first < end)
			memset(data + (first - at), 0, end - first);
	}
}
