// SPDX-License-Identifier: MIT
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cmdline.h"

#define PREFIX "lemona."
#define WORDS_MAX 64

/* COMMAND_LINE_SIZE of x86 is 2048. */
static char line[4096];
static char *words[WORDS_MAX];
static int count;

void cmdline_read(void)
{
	char *word, *save;
	ssize_t n;
	int fd;

	fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	n = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (n <= 0)
		return;
	line[n] = '\0';
	for (word = strtok_r(line, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (strncmp(word, PREFIX, strlen(PREFIX)) == 0 && count < WORDS_MAX)
			words[count++] = word + strlen(PREFIX);
	}
}

const char *cmdline_get(const char *name)
{
	size_t len = strlen(name);

	for (int i = 0; i < count; i++) {
		if (strncmp(words[i], name, len) == 0 && words[i][len] == '=')
			return words[i] + len + 1;
	}
	return NULL;
}

unsigned long cmdline_number(const char *name, unsigned long otherwise)
{
	const char *text = cmdline_get(name);
	char *rest;
	unsigned long value;

	if (!text || *text < '0' || *text > '9')
		return otherwise;
	value = strtoul(text, &rest, 10);
	return *rest ? otherwise : value;
}

/* What is for init; and a driver loaded while the system runs starts under a freeze. */
static const char *const own[] = { "rootflags=", "goodbye_s=", "start=" };

static int is_own(const char *word)
{
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		if (strncmp(word, own[i], strlen(own[i])) == 0)
			return 1;
	}
	return 0;
}

void cmdline_module_params(char *text, size_t len)
{
	size_t have = 0;

	text[0] = '\0';
	for (int i = 0; i < count; i++) {
		if (is_own(words[i]) || have + strlen(words[i]) + 2 > len)
			continue;
		have += snprintf(text + have, len - have, "%s ", words[i]);
	}
	snprintf(text + have, len - have, "start=0");
}
