// SPDX-License-Identifier: MIT
/*
 * secret FILE [COMMAND...]: looks for each line of a file, as it is, in what the machine shows of its processes, of the
 * driver and of its kernel's log, and prints where it is. With a command, which reads standard input: gives it the first
 * line, and while it has that, and waits for the rest, looks for the lines, then tries to trace it, and to have its core.
 * Nothing of it is recorded: it has the secrets itself.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/klog.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lemona_abi.h"

#define LINES_MAX	8
#define SHOWN_MAX	(16 << 20)
#define FOLDERS_OPEN	16
#define SYSLOG_READ_ALL	3

static char *sought[LINES_MAX];
static int nr_sought;
static char shown[SHOWN_MAX];
static unsigned int places;

static void look(const char *place, ssize_t len)
{
	if (len < 0)
		return;
	places++;
	for (int i = 0; i < nr_sought; i++) {
		if (memmem(shown, len, sought[i], strlen(sought[i])))
			printf("line %d is in %s\n", i + 1, place);
	}
}

static void look_into(const char *file)
{
	int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t len = 0, n = 0;

	if (fd < 0)
		return;
	while (len < SHOWN_MAX && (n = read(fd, shown + len, SHOWN_MAX - len)) > 0)
		len += n;
	close(fd);
	look(file, n < 0 ? -1 : len);
}

static int look_below(const char *file, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)ftw;
	if (type == FTW_F)
		look_into(file);
	return 0;
}

static void search(const char *when)
{
	DIR *proc = opendir("/proc");
	struct dirent *entry;
	char file[300];

	places = 0;
	while (proc && (entry = readdir(proc))) {
		if (!atoi(entry->d_name))
			continue;
		snprintf(file, sizeof(file), "/proc/%s/cmdline", entry->d_name);
		look_into(file);
		snprintf(file, sizeof(file), "/proc/%s/environ", entry->d_name);
		look_into(file);
	}
	if (proc)
		closedir(proc);
	nftw("/sys/module/lemona", look_below, FOLDERS_OPEN, FTW_PHYS);
	nftw("/cores", look_below, FOLDERS_OPEN, FTW_PHYS);
	look("the kernel's log", klogctl(SYSLOG_READ_ALL, shown, SHOWN_MAX));
	printf("%s: looked at %u places\n", when, places);
	fflush(stdout);
}

/* What root may see because it is root is no wonder: without that capability it is a user like others. */
static void without_ptrace(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct caps[2];

	if (syscall(SYS_capget, &header, caps))
		err(1, "capget");
	caps[0].effective &= ~(1u << CAP_SYS_PTRACE);
	caps[0].permitted &= ~(1u << CAP_SYS_PTRACE);
	if (syscall(SYS_capset, &header, caps))
		err(1, "capset");
}

static void trace(pid_t pid)
{
	pid_t tracer = fork();
	char file[64];

	if (tracer == 0) {
		without_ptrace();
		snprintf(file, sizeof(file), "/proc/%d/mem", pid);
		printf("memory: %s\n", open(file, O_RDONLY) < 0 ? strerror(errno) : "open");
		printf("trace: %s\n", ptrace(PTRACE_SEIZE, pid, 0, 0) ? strerror(errno) : "done");
		fflush(stdout);
		_exit(0);
	}
	waitpid(tracer, NULL, 0);
}

static void print_locked(pid_t pid)
{
	char file[64], line[256];
	FILE *status;

	snprintf(file, sizeof(file), "/proc/%d/status", pid);
	status = fopen(file, "re");
	while (status && fgets(line, sizeof(line), status)) {
		if (strncmp(line, "VmLck:", 6) == 0)
			printf("%s", line);
	}
	if (status)
		fclose(status);
}

static void hold(char **command, int signal)
{
	struct rlimit all = { RLIM_INFINITY, RLIM_INFINITY }, limit;
	int in[2], left = 1, status;
	pid_t child;

	fflush(stdout);
	if (pipe2(in, O_CLOEXEC))
		err(1, "pipe");
	child = fork();
	if (child == 0) {
		/* As the tracer: neither has more than the other. */
		if (prctl(PR_CAPBSET_DROP, CAP_SYS_PTRACE) || setrlimit(RLIMIT_CORE, &all) ||
		    dup2(in[0], STDIN_FILENO) < 0)
			err(1, "%s", command[0]);
		execvp(command[0], command);
		err(1, "%s", command[0]);
	}
	/* Without the end of the line. */
	if (write(in[1], sought[0], strlen(sought[0])) < 0)
		err(1, "pipe");
	while (left && waitpid(child, &status, WNOHANG) == 0) {
		usleep(1000);
		ioctl(in[0], FIONREAD, &left);
	}
	if (left)
		errx(1, "%s has not read it", command[0]);
	search("held");
	trace(child);
	print_locked(child);
	/* Whatever its limit was, nothing of that kind is in the way of a core. */
	if (prlimit(child, RLIMIT_CORE, &all, &limit) || kill(child, signal))
		err(1, "%s", command[0]);
	waitpid(child, &status, 0);
	printf("core: limit %lld, signal %d, %s\n", (long long)limit.rlim_max, WTERMSIG(status),
	       WCOREDUMP(status) ? "dumped" : "none");
	close(in[0]);
	close(in[1]);
}

int main(int argc, char **argv)
{
	int driver = open("/dev/lemona", O_RDWR | O_CLOEXEC);
	size_t size = 0;
	FILE *file;

	if (driver < 0 || ioctl(driver, LEMONA_IOC_EXEMPT))
		err(1, "/dev/lemona");
	file = argc > 1 ? fopen(argv[1], "re") : NULL;
	if (!file)
		err(1, "secret FILE [COMMAND...]");
	while (nr_sought < LINES_MAX && getline(&sought[nr_sought], &size, file) > 0) {
		sought[nr_sought][strcspn(sought[nr_sought], "\n")] = '\0';
		nr_sought++;
		size = 0;
	}
	fclose(file);
	if (argc > 2) {
		hold(argv + 2, SIGQUIT);
		hold(argv + 2, SIGABRT);
	}
	search("then");
	return 0;
}
