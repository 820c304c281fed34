// SPDX-License-Identifier: MIT
/*
 * span LABEL UNITS COMMAND...: runs a command inside one span. Ends with the
 * command's status; 127 if it cannot be run.
 */
#include <stdlib.h>
#include <sys/wait.h>

#include "span.h"

int main(int argc, char **argv)
{
	int status;
	pid_t child;

	if (argc < 4) {
		fprintf(stderr, "usage: span LABEL UNITS COMMAND...\n");
		return 2;
	}
	span_shrink_slabs();
#ifdef SPAN_SETTLES
	span_settle();
#endif
	span_begin();
	child = fork();
	if (child == 0) {
		/* Standard output is for the line of the span. */
		dup2(2, 1);
		execvp(argv[3], argv + 3);
		perror(argv[3]);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) != child) {
		perror("span");
		return 1;
	}
	span_end(argv[1], strtoull(argv[2], NULL, 10));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
