// SPDX-License-Identifier: MIT
#include <errno.h>
#include <net/if.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "root.h"
#include "say.h"

#define DISK "/dev/vda"
#define DISK_WAIT_MS 10000
#define HOST_NAME "lemona"

struct mount_row {
	const char *type;
	const char *where;
	unsigned long flags;
	const char *options;
};

static const struct mount_row early[] = {
	{ "proc", "/proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sysfs", "/sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "devtmpfs", "/dev", MS_NOSUID, "mode=0755" },
};

static const struct mount_row inside[] = {
	{ "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "sysfs", "sys", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL },
	{ "devtmpfs", "dev", MS_NOSUID, "mode=0755" },
	{ "devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666" },
	{ "tmpfs", "dev/shm", MS_NOSUID | MS_NODEV, "mode=1777" },
	{ "tmpfs", "run", MS_NOSUID | MS_NODEV, "mode=0755" },
};

/* What udev makes elsewhere, and shells rely on. */
static const char *const links[][2] = {
	{ "/proc/self/fd", "dev/fd" },
	{ "/proc/self/fd/0", "dev/stdin" },
	{ "/proc/self/fd/1", "dev/stdout" },
	{ "/proc/self/fd/2", "dev/stderr" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static int fail(char *error, size_t len, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(error, len, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n < len)
		snprintf(error + n, len - n, ": %s", strerror(saved));
	return -1;
}

static int mount_row(const struct mount_row *row)
{
	if (mount(row->type, row->where, row->type, row->flags, row->options) && errno != EBUSY)
		return -1;
	return 0;
}

int root_mount_early(void)
{
	for (size_t i = 0; i < COUNT(early); i++) {
		if (mount_row(&early[i]))
			return -1;
	}
	return 0;
}

static const struct {
	const char *word;
	unsigned long flag;
} option_flags[] = {
	{ "rw", 0 },		  { "ro", MS_RDONLY },	    { "relatime", MS_RELATIME },
	{ "noatime", MS_NOATIME }, { "strictatime", MS_STRICTATIME }, { "lazytime", MS_LAZYTIME },
	{ "nosuid", MS_NOSUID },  { "nodev", MS_NODEV },    { "noexec", MS_NOEXEC },
	{ "nodiratime", MS_NODIRATIME }, { "sync", MS_SYNCHRONOUS }, { "dirsync", MS_DIRSYNC },
};

/* Splits `rw,relatime,data=journal` into mount flags and what ext4 parses itself. */
static unsigned long split_options(const char *options, char *rest, size_t len)
{
	unsigned long flags = 0;
	char copy[256], *word, *save;
	size_t have = 0;

	snprintf(copy, sizeof(copy), "%s", options);
	rest[0] = '\0';
	for (word = strtok_r(copy, ",", &save); word; word = strtok_r(NULL, ",", &save)) {
		size_t i;

		for (i = 0; i < COUNT(option_flags); i++) {
			if (strcmp(word, option_flags[i].word) == 0)
				break;
		}
		if (i < COUNT(option_flags))
			flags |= option_flags[i].flag;
		else if (have + strlen(word) + 2 <= len)
			have += snprintf(rest + have, len - have, "%s%s", have ? "," : "", word);
	}
	return flags;
}

static int mount_disk(const char *options, char *error, size_t len)
{
	uint64_t end = now_ms() + DISK_WAIT_MS;
	unsigned long flags;
	char rest[256];

	while (access(DISK, F_OK)) {
		if (now_ms() >= end)
			return fail(error, len, "no disk " DISK " within %d s", DISK_WAIT_MS / 1000);
		sleep_ms(10);
	}
	flags = split_options(options, rest, sizeof(rest));
	if (mount(DISK, "/sysroot", "ext4", flags, rest))
		return fail(error, len, "mounting " DISK " as ext4 with %s failed", options);
	return 0;
}

int root_enter(const char *options, char *error, size_t len)
{
	if (mount_disk(options, error, len))
		return -1;
	if (chdir("/sysroot"))
		return fail(error, len, "entering /sysroot failed");
	for (size_t i = 0; i < COUNT(inside); i++) {
		/* Only an image without the folder is changed; on a devtmpfs it is always missing. */
		if (mkdir(inside[i].where, 0755) && errno != EEXIST)
			return fail(error, len, "making /%s failed", inside[i].where);
		if (mount_row(&inside[i]))
			say("mounting %s on /%s failed: %s", inside[i].type, inside[i].where, strerror(errno));
	}
	for (size_t i = 0; i < COUNT(links); i++) {
		if (symlink(links[i][0], links[i][1]) && errno != EEXIST)
			say("linking /%s failed: %s", links[i][1], strerror(errno));
	}
	/*
	 * The initramfs cannot be unmounted, so the disk is moved over it, as
	 * switch_root does. This program stays in memory, out of the disk's reach.
	 */
	if (mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
		return fail(error, len, "moving the root onto the disk failed");
	return 0;
}

void root_network(void)
{
	struct ifreq ifr = { .ifr_name = "lo" };
	int fd;

	if (sethostname(HOST_NAME, strlen(HOST_NAME)))
		say("setting the host name failed: %s", strerror(errno));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return; /* a kernel without IPv4 has no loopback to bring up */
	ifr.ifr_flags = IFF_UP | IFF_RUNNING;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr))
		say("bringing the loopback interface up failed: %s", strerror(errno));
	close(fd);
}
