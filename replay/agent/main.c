// SPDX-License-Identifier: MIT
/*
 * lemona-replay: PID 1 of the replay VM.
 *
 * Mounts the disk to rebuild, reads the stream of control.h from the virtio
 * port named lemona.plan and the plan disk, applies it and powers off.
 *
 * Test lane, on any Linux with a mounted scratch ext4:
 *   lemona-replay --test MOUNTPOINT < plan > answers
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>
#include <linux/securebits.h>

#include "replay.h"

#define PORT_NAME "lemona.plan"
#define PROGRESS_EVERY 8192
#define KERNEL_BYTES (32u << 20)

struct replay rp;

static bool is_init;

void leave(int status)
{
	if (!is_init)
		_exit(status);
	sync();
	reboot(RB_POWER_OFF);
	for (;;)
		pause();
}

static void make_dir_and_mount(const char *what, const char *where, const char *type)
{
	mkdir(where, 0755);
	if (mount(what, where, type, 0, NULL) < 0 && errno != EBUSY)
		fatal("mount %s: %s", where, strerror(errno));
}

/* Opens the virtio port by its name: numbers depend on the command line. */
static int open_port(void)
{
	static const char class[] = "/sys/class/virtio-ports";
	DIR *dir = opendir(class);
	char path[300], name[64];
	struct dirent *entry;
	ssize_t n;
	int fd;

	if (!dir)
		return -1;
	while ((entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "%s/%s/name", class, entry->d_name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		n = read(fd, name, sizeof(name) - 1);
		close(fd);
		if (n <= 0)
			continue;
		name[n] = 0;
		name[strcspn(name, "\n")] = 0;
		if (strcmp(name, PORT_NAME))
			continue;
		snprintf(path, sizeof(path), "/dev/%s", entry->d_name);
		closedir(dir);
		return open(path, O_RDWR | O_CLOEXEC);
	}
	closedir(dir);
	errno = ENOENT;
	return -1;
}

/*
 * An allocation that fails says how many inodes there are; memory that ends otherwise ends this process without a word.
 * The kernel needs some, too.
 */
static void limit_memory(void)
{
	struct rlimit data;
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return;
	data.rlim_cur = (rlim_t)info.totalram * info.mem_unit;
	data.rlim_cur -= data.rlim_cur / 8 + KERNEL_BYTES;
	data.rlim_max = data.rlim_cur;
	setrlimit(RLIMIT_DATA, &data);
}

static void set_up_init(void)
{
	int i;

	is_init = true;
	limit_memory();
	make_dir_and_mount("devtmpfs", "/dev", "devtmpfs");
	make_dir_and_mount("proc", "/proc", "proc");
	make_dir_and_mount("sysfs", "/sys", "sysfs");
	mkdir("/disk", 0755);
	rp.mount_point = "/disk";
	rp.device = "/dev/vda";
	rp.out = 2;
	plan_open_disk("/dev/vdb");
	/* The port appears when its driver has probed: at most this long. */
	for (i = 0; i < 500; i++) {
		rp.in = open_port();
		if (rp.in >= 0)
			break;
		usleep(20000);
	}
	if (rp.in < 0)
		fatal("no virtio port named %s: %s", PORT_NAME, strerror(errno));
	rp.out = rp.in;
	rp.lemona = open("/dev/lemona", O_RDWR | O_CLOEXEC);
}

/* ext4 refuses options about a journal where there is none. */
static void drop_journal_options(char *options)
{
	char *from, *rest = options, *to = options;

	while ((from = strsep(&rest, ","))) {
		size_t len = strlen(from);

		if (strncmp(from, "data=", 5) == 0 || strncmp(from, "commit=", 7) == 0)
			continue;
		if (to != options)
			*to++ = ',';
		memmove(to, from, len);
		to += len;
	}
	*to = 0;
}

static void begin(const struct control_begin *b, uint32_t size)
{
	char options[512];
	const char *why;

	if (rp.root >= 0)
		fatal("BEGIN came twice");
	if (size < sizeof(*b) || b->options_len > size - sizeof(*b) ||
	    b->options_len >= sizeof(options))
		fatal("BEGIN is malformed");
	memcpy(options, b->options, b->options_len);
	options[b->options_len] = 0;
	rp.dev = b->dev;
	rp.go_on = b->flags & BEGIN_CONTINUE;
	rp.strict = b->flags & BEGIN_STRICT;
	rp.utimens = b->flags & BEGIN_TIMES_UTIMENS;
	rp.midway = b->flags & BEGIN_MIDWAY;
	if (rp.device) {
		if (orphans_read(rp.device, &why) < 0)
			fatal("%s holds no ext4 this program can read: %s", rp.device, why);
		if (!rp.has_journal)
			drop_journal_options(options);
		/* No device that a recorded mknod() made may be opened here. */
		if (mount(rp.device, rp.mount_point, "ext4",
			  MS_NOATIME | MS_NODIRATIME | MS_NODEV, options) < 0)
			fatal("mount %s with '%s': %s", rp.device, options, strerror(errno));
	}
	rp.root = open(rp.mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rp.root < 0)
		fatal("open %s: %s", rp.mount_point, strerror(errno));
	if (rp.keep_folders)
		folders_open();
	if (rp.lemona < 0 && !rp.utimens)
		mismatch(NULL, "set times", "/dev/lemona", "this kernel has none", ENODEV);
	rp.start_ns = now_ns();
}

/* Freed pages read as zeros (init_on_free=1), and those take no room in a saved VM. */
static void drop_page_cache(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, "1", 1) != 1)
		fatal("drop_caches: %s", strerror(errno));
	close(fd);
}

static void stop(const struct control_stop *s, bool resume)
{
	if (resume) {
		if (fs_thaw() < 0)
			fatal("thaw: %s", strerror(errno));
		rp.start_ns = now_ns();
		return;
	}
	rp.apply_ns += now_ns() - rp.start_ns;
	final_pass();
	if (fs_freeze() < 0)
		fatal("freeze: %s", strerror(errno));
	if (s->flags & STOP_LEAN)
		drop_page_cache();
	waiting_report();
	report_stopped(s->id);
}

static void end(void)
{
	uint64_t start;

	rp.apply_ns += now_ns() - rp.start_ns;
	final_pass();
	start = now_ns();
	objects_close_all();
	waiting_close();
	if (syncfs(rp.root) < 0)
		fatal("sync: %s", strerror(errno));
	close(rp.root);
	if (rp.device && umount(rp.mount_point) < 0)
		fatal("unmount %s: %s", rp.mount_point, strerror(errno));
	rp.final_ns += now_ns() - start;
	waiting_report();
	report_result(rp.mismatches ? "diverged" : "complete");
	leave(0);
}

static void control(const struct lemona_rec *h, uint32_t size)
{
	writes_flush();
	if (h->code == CONTROL_BEGIN)
		begin((const void *)h, size);
	else if (rp.root < 0)
		fatal("control record %u came before BEGIN", h->code);
	else if ((h->code == CONTROL_STOP || h->code == CONTROL_RESUME) &&
		 size >= sizeof(struct control_stop))
		stop((const void *)h, h->code == CONTROL_RESUME);
	else if (h->code == CONTROL_LOST && size >= sizeof(struct control_lost))
		doubt_note((const void *)h);
	else if (h->code == CONTROL_END)
		end();
	else
		fatal("unknown control record %u of %u bytes", h->code, size);
}

static void effect(const struct lemona_effect *e, uint32_t size)
{
	if (rp.root < 0)
		fatal("an effect came before BEGIN");
	if (size < sizeof(*e))
		fatal("an effect of %u bytes after seq %llu", size,
		      (unsigned long long)rp.last_seq);
	if (e->seq <= rp.last_seq)
		fatal("seq %llu came after %llu", (unsigned long long)e->seq,
		      (unsigned long long)rp.last_seq);
	rp.last_seq = e->seq;
	rp.received++;
	apply_effect(e, size);
	if (rp.received % PROGRESS_EVERY == 0)
		report_progress();
}

int main(int argc, char **argv)
{
	struct rlimit files = { 1 << 20, 1 << 20 };
	const struct lemona_rec *h;
	uint32_t size;

	rp.root = -1;
	rp.lemona = -1;
	link_init(&rp.lru);
	link_init(&rp.dirty);
	if (argc == 3 && strcmp(argv[1], "--test") == 0) {
		rp.mount_point = argv[2];
		rp.in = 0;
		rp.out = 1;
	} else if (getpid() == 1) {
		set_up_init();
	} else {
		fprintf(stderr, "usage: lemona-replay --test MOUNTPOINT\n"
			"(anything else is for PID 1 of the replay VM)\n");
		return 2;
	}
	umask(0);
	setrlimit(RLIMIT_NOFILE, &files);
	/* setfsuid() must not take capabilities away: see become() */
	if (prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP) < 0)
		fatal("securebits: %s", strerror(errno));
	report_ready();
	while ((h = plan_next(&size))) {
		switch (h->size_kind >> LEMONA_REC_KIND_SHIFT) {
		case LEMONA_KIND_EFFECT:
			effect((const void *)h, size);
			break;
		case CONTROL_KIND:
			control(h, size);
			break;
		default:
			fatal("a record of kind %u in the plan",
			      h->size_kind >> LEMONA_REC_KIND_SHIFT);
		}
	}
	fatal("the plan ended without END");
}
