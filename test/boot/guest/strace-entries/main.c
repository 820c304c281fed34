// SPDX-License-Identifier: MIT
// Calls by another way into the kernel, in the working directory. What they
// return does not matter; that the record tells the same of them does.
// Usage: strace-entries ioctls|ptraces 64|ia32|x32 REPORT
//        strace-entries calls x32 REPORT
#include <string.h>

#include "entry.h"

int main(int argc, char **argv)
{
	if (argc != 4)
		return 2;
	entry_begin(argv[2]);
	if (!strcmp(argv[1], "ioctls"))
		ioctls();
	else if (!strcmp(argv[1], "ptraces"))
		ptraces();
	else
		x32_calls();
	entry_end(argv[3]);
	return 0;
}
