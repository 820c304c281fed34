// SPDX-License-Identifier: MIT
/*
 * A file system that a program serves, on top of the traced disk: its file `served` is kept by the program, and the
 * kernel writes `through` by itself.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ways.h"

/* Newer than Debian 12's <linux/fuse.h> */
#define INIT_PASSTHROUGH_2 (1u << 5)
#define OPEN_PASSTHROUGH (1u << 7)
struct backing_map {
	int32_t fd;
	uint32_t flags;
	uint64_t padding;
};
#define DEV_BACKING_OPEN _IOW(FUSE_DEV_IOC_MAGIC, 1, struct backing_map)

#define MOST_BYTES (32 * PAGE)

/* By node id; 1 is the root. */
static const char *const names[] = { NULL, NULL, "served", "through" };
#define SERVED 2
#define THROUGH 3

static int device, kept[4];

static void answer(const struct fuse_in_header *in, int error, const void *body, size_t len)
{
	char out[sizeof(struct fuse_out_header) + MOST_BYTES];
	struct fuse_out_header head = { .len = sizeof(head) + len, .error = -error, .unique = in->unique };

	memcpy(out, &head, sizeof(head));
	memcpy(out + sizeof(head), body, len);
	/* Nobody waits for the answer to a release: it may be unmounted before. */
	if (write(device, out, head.len) != (ssize_t)head.len)
		must(in->opcode == FUSE_RELEASE && errno == ENOENT);
}

static struct fuse_attr attributes(uint64_t node)
{
	struct fuse_attr a = { .ino = node, .mode = S_IFDIR | 0755, .nlink = 2, .blksize = PAGE };
	struct stat st;

	if (node == FUSE_ROOT_ID)
		return a;
	need(fstat(kept[node], &st));
	a.mode = S_IFREG | 0644;
	a.nlink = 1;
	a.size = st.st_size;
	a.blocks = st.st_blocks;
	return a;
}

static void answer_init(const struct fuse_in_header *in)
{
	struct fuse_init_out out = {
		.major = FUSE_KERNEL_VERSION, .minor = 40, .max_write = 16 * PAGE,
		.flags = FUSE_INIT_EXT | FUSE_BIG_WRITES, .flags2 = INIT_PASSTHROUGH_2,
	};

	out.unused[0] = 1; /* max_stack_depth */
	answer(in, 0, &out, sizeof(out));
}

static void answer_lookup(const struct fuse_in_header *in, const char *name)
{
	struct fuse_entry_out out = { 0 };

	for (uint64_t node = SERVED; node <= THROUGH; node++) {
		if (strcmp(name, names[node]))
			continue;
		out.nodeid = node;
		out.attr = attributes(node);
		answer(in, 0, &out, sizeof(out));
		return;
	}
	answer(in, ENOENT, "", 0);
}

static void answer_attributes(const struct fuse_in_header *in)
{
	struct fuse_attr_out out = { .attr = attributes(in->nodeid) };

	answer(in, 0, &out, sizeof(out));
}

static void answer_open(const struct fuse_in_header *in)
{
	struct backing_map map = { .fd = kept[in->nodeid] };
	struct fuse_open_out out = { .fh = in->nodeid };

	if (in->nodeid == THROUGH) {
		out.padding = need(ioctl(device, DEV_BACKING_OPEN, &map)); /* backing_id */
		out.open_flags = OPEN_PASSTHROUGH;
	}
	answer(in, 0, &out, sizeof(out));
}

static void serve_one(const struct fuse_in_header *in, const void *arg)
{
	const struct fuse_setattr_in *set = arg;
	const struct fuse_write_in *put = arg;
	const struct fuse_read_in *get = arg;
	struct fuse_write_out wrote = { 0 };
	char data[MOST_BYTES];

	switch (in->opcode) {
	case FUSE_INIT:
		answer_init(in);
		break;
	case FUSE_LOOKUP:
		answer_lookup(in, arg);
		break;
	case FUSE_SETATTR:
		if (set->valid & FATTR_SIZE)
			need(ftruncate(kept[in->nodeid], set->size));
		answer_attributes(in);
		break;
	case FUSE_GETATTR:
		answer_attributes(in);
		break;
	case FUSE_OPEN:
		answer_open(in);
		break;
	case FUSE_READ:
		must(get->size <= sizeof(data));
		answer(in, 0, data, need(pread(kept[in->nodeid], data, get->size, get->offset)));
		break;
	case FUSE_WRITE:
		wrote.size = need(pwrite(kept[in->nodeid], put + 1, put->size, put->offset));
		answer(in, 0, &wrote, sizeof(wrote));
		break;
	case FUSE_FSYNC:
		need(fsync(kept[in->nodeid]));
		answer(in, 0, "", 0);
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
		answer(in, 0, "", 0);
		break;
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(in, ENOSYS, "", 0);
	}
}

static void serve(void *unused)
{
	/* The kernel stores what is asked into the mapping of a file, through references. */
	const size_t size = MOST_BYTES + PAGE;
	char *request = map_file(make_file("requests", size), size);

	(void)unused;
	while (read(device, request, size) > 0)
		serve_one((void *)request, request + sizeof(struct fuse_in_header));
	must(errno == ENODEV); /* it is unmounted */
}

static void change(const char *path)
{
	int fd = need(open(path, O_RDWR));
	char data[3 * PAGE], *map;

	for (int i = 0; i < 20; i++) {
		fill(data, sizeof(data));
		must(pwrite(fd, data, sizeof(data), i * PAGE) == (ssize_t)sizeof(data));
	}
	map = map_file(fd, 8 * PAGE);
	for (int i = 0; i < 100; i++)
		map[below(8 * PAGE)] = below(256);
	need(msync(map, 8 * PAGE, MS_SYNC));
	need(munmap(map, 8 * PAGE));
	need(ftruncate(fd, 12 * PAGE + 5));
	need(fsync(fd));
	need(close(fd));
}

WAY("fuse")
{
	char options[80];
	pid_t server;

	kept[SERVED] = make_file("kept-served", PAGE);
	kept[THROUGH] = make_file("kept-through", PAGE);
	need(mkdir("mounted", 0755));
	device = need(open("/dev/fuse", O_RDWR));
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0", device);
	need(mount("ways", "mounted", "fuse", 0, options));
	server = spawn(serve, NULL);
	change("mounted/served");
	change("mounted/through");
	need(umount("mounted"));
	reap(server, 0);
}
