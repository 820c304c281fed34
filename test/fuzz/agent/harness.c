// SPDX-License-Identifier: MIT
/*
 * Feeds plans to lemona-replay under ASan and UBSan, on the host.
 *
 *   harness SCRATCH < plans           many hostile ones
 *   harness --apply SCRATCH < plan    one, to SCRATCH itself; prints the answers
 *   harness --orphans FILE            reads the orphans of a file system
 *
 * stdin: plans, each a u32 of its bytes and the bytes. Each is applied by a
 * child of its own to a folder of its own in SCRATCH. Prints the number of every plan
 * whose child died of a signal, of a sanitizer, or of the alarm; exits 1 if
 * there was one.
 *
 * The agent's code is as it is; its calls are wrapped (ld --wrap), because a
 * scratch folder on any file system has no ext4 handles, and because a plan
 * may name devices: none is ever made here.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/fs.h>

#define PLAN_MAX (1u << 20)
#define NOBODY 65534
/* A larger file of a hostile plan is an error, as on a full disk. */
#define FILE_MAX_BYTES (1u << 20)
#define SECONDS_A_PLAN 20
#define INODES 1024

int agent_main(int argc, char **argv);
int orphans_read(const char *device, const char **why);

/* What the sanitizers exit with. */
const char *__asan_default_options(void)
{
	return "exitcode=99:detect_leaks=0:allocator_may_return_null=1";
}

const char *__ubsan_default_options(void)
{
	return "exitcode=99:halt_on_error=1:print_stacktrace=1";
}

/* A handle is an inode number; an O_PATH file is kept open for each. */
struct handle {
	struct file_handle h;
	uint32_t ino, gen;
};

static struct {
	uint32_t ino;
	int fd;
} inodes[INODES];
static unsigned int inode_count;
static ino_t root_ino;

/* The scratch folder is ext4's root directory. */
static uint32_t number_of(ino_t ino)
{
	return ino == root_ino ? 2 : ino;
}

int __wrap_name_to_handle_at(int dirfd, const char *name, struct file_handle *h, int *mount_id,
			     int flags)
{
	struct handle *to = (void *)h;
	struct stat st;
	int fd;

	(void)mount_id;
	if (fstatat(dirfd, name, &st, (flags & AT_EMPTY_PATH) | AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	to->h.handle_type = 1;
	to->ino = number_of(st.st_ino);
	to->gen = 0;
	for (unsigned int i = 0; i < inode_count; i++)
		if (inodes[i].ino == to->ino)
			return 0;
	fd = *name ? openat(dirfd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC) :
		     fcntl(dirfd, F_DUPFD_CLOEXEC, 0);
	if (fd >= 0 && inode_count < INODES) {
		inodes[inode_count].ino = to->ino;
		inodes[inode_count++].fd = fd;
	}
	return 0;
}

int __wrap_open_by_handle_at(int mount_fd, struct file_handle *h, int flags)
{
	const struct handle *from = (void *)h;
	char path[40];

	(void)mount_fd;
	for (unsigned int i = 0; i < inode_count; i++) {
		if (inodes[i].ino != from->ino)
			continue;
		if (flags & O_PATH)
			return fcntl(inodes[i].fd, F_DUPFD_CLOEXEC, 0);
		snprintf(path, sizeof(path), "/proc/self/fd/%d", inodes[i].fd);
		return open(path, (flags & ~O_NOFOLLOW) | O_NONBLOCK);
	}
	errno = ESTALE;
	return -1;
}

/* Nobody may not make devices; a harness that runs as root must not either. */
int __wrap_mknodat(int dirfd, const char *name, mode_t mode, dev_t dev)
{
	(void)dev;
	if (S_ISCHR(mode) || S_ISBLK(mode))
		mode = S_IFIFO | (mode & 07777);
	return mkfifoat(dirfd, name, mode & 07777);
}

int __real_linkat(int from, const char *path, int to, const char *name, int flags);

/* By the handle only root may link; by the open file whoever has it may. */
int __wrap_linkat(int from, const char *path, int to, const char *name, int flags)
{
	char open_file[40];

	(void)path;
	(void)flags;
	snprintf(open_file, sizeof(open_file), "/proc/self/fd/%d", from);
	return __real_linkat(AT_FDCWD, open_file, to, name, AT_SYMLINK_FOLLOW);
}

/* A folder has a link for each folder in it, as on ext4; not every file system counts them. */
static uint32_t links_of_folder(int fd)
{
	struct dirent *entry;
	uint32_t links = 0;
	char path[40];
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	dir = opendir(path);
	if (!dir)
		return 0;
	while ((entry = readdir(dir)))
		links += entry->d_type == DT_DIR;
	closedir(dir);
	return links;
}

int __real_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st);

int __wrap_statx(int fd, const char *path, int flags, unsigned int mask, struct statx *st)
{
	int r = __real_statx(fd, path, flags, mask, st);

	if (r == 0 && S_ISDIR(st->stx_mode))
		st->stx_nlink = links_of_folder(fd);
	return r;
}

int __wrap_ioctl(int fd, unsigned long request, ...)
{
	va_list args;
	void *arg;

	(void)fd;
	va_start(args, request);
	arg = va_arg(args, void *);
	va_end(args);
	if (request == FS_IOC_GETFLAGS)
		*(int *)arg = 0;
	if (request == FS_IOC_FSGETXATTR)
		memset(arg, 0, sizeof(struct fsxattr));
	return 0;
}

int __wrap_prctl(int option, ...)
{
	(void)option;
	return 0;
}

int __wrap_syncfs(int fd)
{
	(void)fd;
	return 0;
}

struct lemona_effect;
void __real_apply_effect(const struct lemona_effect *e, uint32_t size);

/* Records stay where they are: a run of writes is made from several of them. */
struct kept {
	struct kept *next;
	void *copy;
};

static struct kept *kept;

/* In the agent's buffer a read past a record finds the next one; here it finds the sanitizer. */
void __wrap_apply_effect(const struct lemona_effect *e, uint32_t size)
{
	struct kept *k = malloc(sizeof(*k));
	void *copy = malloc(size);

	if (!k || !copy)
		_exit(3);
	k->next = kept;
	k->copy = copy;
	kept = k;
	memcpy(copy, e, size);
	__real_apply_effect(copy, size);
}

static int plan_file(const char *plan, uint32_t size)
{
	int fd = memfd_create("plan", MFD_CLOEXEC);

	if (fd < 0 || write(fd, plan, size) != (ssize_t)size)
		_exit(3);
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* @in: the plan; @out: where its answers go */
static void run_child(const char *scratch, int in, int out)
{
	char *argv[] = { "lemona-replay", "--test", (char *)scratch, NULL };
	struct handle h;
	struct stat st;
	int root, mount_id;

	root = open(scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (out < 0 || root < 0 || fstat(root, &st) < 0)
		_exit(3);
	root_ino = st.st_ino;
	dup2(in, 0);
	dup2(out, 1);
	__wrap_name_to_handle_at(root, "", &h.h, &mount_id, AT_EMPTY_PATH);
	alarm(SECONDS_A_PLAN);
	_exit(agent_main(3, argv));
}

static void limit_files(void)
{
	struct rlimit file = { FILE_MAX_BYTES, FILE_MAX_BYTES };

	setrlimit(RLIMIT_FSIZE, &file);
	signal(SIGXFSZ, SIG_IGN);
}

int main(int argc, char **argv)
{
	static char plan[PLAN_MAX], scratch[4096];
	unsigned int number, bad = 0;
	const char *why;
	uint32_t size;

	if (argc == 3 && !strcmp(argv[1], "--orphans")) {
		alarm(SECONDS_A_PLAN);
		int count = orphans_read(argv[2], &why);

		if (count < 0)
			printf("%s\n", why);
		else
			printf("%d orphans\n", count);
		return 0;
	}
	if (argc != 2 && (argc != 3 || strcmp(argv[1], "--apply")))
		return 2;
	/* Whatever a plan gets done, it is nobody who does it. */
	if (!getuid() && (chown(argv[argc - 1], NOBODY, NOBODY) < 0 || setgroups(0, NULL) < 0 ||
			  setgid(NOBODY) < 0 || setuid(NOBODY) < 0))
		return 2;
	if (argc == 3)
		run_child(argv[2], 0, 1);
	for (number = 0; fread(&size, sizeof(size), 1, stdin) == 1; number++) {
		int status;
		pid_t pid;

		if (size > sizeof(plan) || fread(plan, 1, size, stdin) != size)
			return 2;
		snprintf(scratch, sizeof(scratch), "%s/%u", argv[1], number);
		if (mkdir(scratch, 0755) < 0)
			return 2;
		pid = fork();
		if (pid < 0)
			return 2;
		if (!pid) {
			int in = plan_file(plan, size);

			limit_files();
			run_child(scratch, in, open("/dev/null", O_WRONLY | O_CLOEXEC));
		}
		if (waitpid(pid, &status, 0) != pid)
			return 2;
		if (WIFSIGNALED(status) || (WEXITSTATUS(status) != 0 && WEXITSTATUS(status) != 1)) {
			printf("plan %u: status 0x%x\n", number, status);
			bad++;
		}
	}
	printf("%u plans, %u bad\n", number, bad);
	return bad ? 1 : 0;
}
