// SPDX-License-Identifier: MIT
/* A file of the traced disk is a disk itself: kernel threads write it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "devices.h"
#include "ways.h"

#define SIZE (8ul << 20)

static int make_disk(void)
{
	int fd = need(open("disk", O_RDWR | O_CREAT, 0600));

	need(ftruncate(fd, SIZE));
	return fd;
}

static void write_raw(int device)
{
	char *block = aligned_alloc(PAGE, 4 * PAGE);
	uint64_t range[2] = { 64 * PAGE, 16 * PAGE };

	do {
		size_t len = 1 + below(4 * PAGE);

		fill(block, 32);
		must(pwrite(device, block, len, below(SIZE / 2)) == (ssize_t)len);
		if (below(10) == 0)
			need(fsync(device));
	} while (going());
	need(fsync(device));
	/* Holes of the device are holes of the file. */
	need(ioctl(device, BLKDISCARD, range));
	need(fallocate(device, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, SIZE / 2 - PAGE, 8 * PAGE));
}

WAY("loop-raw")
{
	char name[32];
	int device;

	need(close(make_disk()));
	device = loop_attach("disk", 0, name);
	write_raw(device);
	loop_detach(device);
}

/* The device reads and writes the file without its page cache. */
WAY("loop-direct")
{
	char name[32];
	int device;

	need(close(make_disk()));
	device = loop_attach("disk", 0, name);
	need(ioctl(device, LOOP_SET_DIRECT_IO, 1ul));
	write_raw(device);
	loop_detach(device);
}

/* Ranges whose edges are no blocks: to zero one takes the journal three steps, and a mark must not come in between. */
WAY("loop-zeroed")
{
	char name[32], *data = aligned_alloc(PAGE, SIZE / 8);
	int device;

	need(close(make_disk()));
	device = loop_attach("disk", 0, name);
	do {
		size_t at = below(8) * (SIZE / 8);

		fill(data, SIZE / 8);
		must(pwrite(device, data, SIZE / 8, at) == (ssize_t)(SIZE / 8));
		for (size_t from = at + 512; from + 12800 < at + SIZE / 8; from += 4 * PAGE)
			need(ioctl(device, BLKZEROOUT, (uint64_t[]){ from, 12800 }));
	} while (going());
	loop_detach(device);
}

/* Whether the file may be changed is asked before a call gets there, and here by nobody: it is, though it is immutable. */
WAY("loop-immutable")
{
	char name[32], *data = aligned_alloc(PAGE, SIZE);
	int disk = make_disk(), device, flags, immutable;

	fill(data, SIZE);
	must(pwrite(disk, data, SIZE, 0) == (ssize_t)SIZE);
	device = loop_attach("disk", 0, name);
	need(ioctl(disk, FS_IOC_GETFLAGS, &flags));
	immutable = flags | FS_IMMUTABLE_FL;
	need(ioctl(disk, FS_IOC_SETFLAGS, &immutable));
	do {
		need(ioctl(device, BLKDISCARD, (uint64_t[]){ below(SIZE / PAGE - 4) * PAGE, 4 * PAGE }));
		pause_us(1000);
	} while (going());
	need(ioctl(disk, FS_IOC_SETFLAGS, &flags));
	need(close(disk));
	loop_detach(device);
}

static void thaw_while_going(void *unused)
{
	int root = need(open("/", O_RDONLY | O_DIRECTORY));

	(void)unused;
	do {
		/* Whether anything was frozen is not asked. */
		(void)!ioctl(root, FITHAW, 0);
		pause_us(300);
	} while (going());
}

/* Somebody else thaws what a mark has frozen. */
WAY("thawed")
{
	int fd = make_file("written", 16 * PAGE);
	pid_t thawer = spawn(thaw_while_going, NULL);
	char block[PAGE];

	do {
		fill(block, sizeof(block));
		must(pwrite(fd, block, sizeof(block), below(16) * PAGE) == (ssize_t)sizeof(block));
		need(fdatasync(fd));
	} while (going());
	reap(thawer, 0);
	need(close(fd));
}

/* Through a mapping of the device, and through one of the file under it. */
WAY("loop-mapped")
{
	char name[32], *disk, *file;
	int fd = make_disk(), device = loop_attach("disk", 0, name);

	disk = map_file(device, SIZE / 4);
	file = map_file(fd, SIZE);
	do {
		for (int i = 0; i < 50; i++) {
			disk[below(SIZE / 4)] = below(256);
			file[SIZE / 2 + below(SIZE / 2)] = below(256);
		}
		if (below(10) == 0)
			need(msync(disk, SIZE / 4, MS_SYNC));
	} while (going());
	need(munmap(disk, SIZE / 4));
	need(fsync(device));
	loop_detach(device);
}

static void change_inside(void)
{
	int fd = make_file("inside/f", 30000);
	char *map = map_file(fd, 4 * PAGE);

	need(mkdir("inside/d", 0755));
	need(rename("inside/f", "inside/d/f"));
	do {
		map[below(4 * PAGE)] = below(256);
		must(pwrite(fd, map, 50, below(60000)) == 50);
		if (below(50) == 0)
			need(fsync(fd));
	} while (going());
	need(munmap(map, 4 * PAGE));
	need(close(fd));
}

/* An ext4 in a file. Returns the loop device. */
static int mount_inside(unsigned long flags)
{
	char name[32];
	int device;

	need(close(make_disk()));
	device = loop_attach("disk", 0, name);
	run((const char *const[]){ "mke2fs", "-F", name, NULL });
	need(mkdir("inside", 0755));
	need(mount(name, "inside", "ext4", flags, NULL));
	return device;
}

WAY("loop-ext4")
{
	int device = mount_inside(0);

	change_inside();
	need(umount("inside"));
	loop_detach(device);
}

/* Few, so that the same ones are stored to and on their way to the device at once */
#define SYNCED	2

static void store_inside(void *unused)
{
	char *map = map_file(need(open("inside/f", O_RDWR)), SYNCED * PAGE);

	(void)unused;
	do {
		map[below(SYNCED * PAGE)]++;
		/* What was stored is captured when a call begins. */
		(void)getppid();
	} while (going());
}

static void sync_inside(void *unused)
{
	int fd = need(open("inside/f", O_RDWR));

	(void)unused;
	do
		need(fsync(fd));
	while (going());
}

/* What is to be written back while the disk is being frozen makes that last. */
static void write_outside(void *unused)
{
	int fd = make_file("outside", 0);
	char *data = malloc(SIZE / 2);

	(void)unused;
	fill(data, SIZE / 2);
	do {
		must(pwrite(fd, data, SIZE / 2, 0) == (ssize_t)(SIZE / 2));
		pause_us(20000);
	} while (going());
}

/*
 * A page of the file system inside is captured while it is on its way to the device, which waits while a mark has the
 * one outside frozen; and the mark waits for captures, but not for those.
 */
WAY("loop-synced")
{
	static void (*const what[])(void *) = { store_inside, store_inside, sync_inside, sync_inside, write_outside };
	pid_t pids[sizeof(what) / sizeof(*what)];
	/* A store need not wait for the journal, to note the time: its page is soon dirty again. */
	int device = mount_inside(MS_LAZYTIME);

	need(close(make_file("inside/f", SYNCED * PAGE)));
	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++)
		pids[i] = spawn(what[i], NULL);
	for (size_t i = 0; i < sizeof(what) / sizeof(*what); i++)
		reap(pids[i], 0);
	need(umount("inside"));
	loop_detach(device);
}
