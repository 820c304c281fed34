// SPDX-License-Identifier: MIT
/*
 * Writes to block devices, past every file system. On the disk that is traced they are harmless: blocks in which
 * nothing is stored get the bytes they have. ARG is the device.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/blkpg.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <unistd.h>

#include "devices.h"
#include "uring.h"

/* Newer than Debian 12's <linux/io_uring.h>, older than 6.12 */
#define URING_DISCARD _IO(0x12, 0)

static int device;

/* The last block but one that reads as zeros, and so do its neighbours: the end of the disk was never used. */
static off_t unused_block(char *block)
{
	uint64_t size;

	device = need(open(way_arg, O_RDWR));
	need(ioctl(device, BLKGETSIZE64, &size));
	for (off_t at = size / PAGE * PAGE - 8 * PAGE; at > 0; at -= 16 * PAGE) {
		must(pread(device, block, 2 * PAGE, at) == 2 * PAGE);
		if (block[0] == 0 && memcmp(block, block + 1, 2 * PAGE - 1) == 0)
			return at;
	}
	failed("an unused block", __FILE__, __LINE__);
}

WAY("raw-write")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	off_t at = unused_block(block);

	must(pwrite(device, block, PAGE, at) == (ssize_t)PAGE);
	need(fsync(device));
}

/* Its own partition, all of it: other names for the same blocks. */
WAY("raw-partition")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE), name[40];
	off_t at = unused_block(block);
	struct blkpg_partition part = { .pno = 1 };
	struct blkpg_ioctl_arg arg = { .datalen = sizeof(part), .data = &part };
	uint64_t size;
	int fd;

	need(ioctl(device, BLKGETSIZE64, &size));
	part.length = size;
	arg.op = BLKPG_ADD_PARTITION;
	need(ioctl(device, BLKPG, &arg));
	snprintf(name, sizeof(name), "%s1", way_arg);
	fd = need(open(name, O_RDWR));
	must(pwrite(fd, block, PAGE, at) == (ssize_t)PAGE);
	need(fsync(fd));
	need(close(fd));
	arg.op = BLKPG_DEL_PARTITION;
	need(ioctl(device, BLKPG, &arg));
}

WAY("raw-direct")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	off_t at = unused_block(block);
	int direct = need(open(way_arg, O_RDWR | O_DIRECT));

	must(pwrite(direct, block, PAGE, at) == (ssize_t)PAGE);
}

WAY("raw-mapped")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE), *map;
	off_t at = unused_block(block);

	map = (char *)need(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, device, at));
	*(volatile char *)map = 0;
	need(msync(map, PAGE, MS_SYNC));
}

/* No data moves for these. */
WAY("raw-zero")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	uint64_t range[2] = { unused_block(block), PAGE };

	need(ioctl(device, BLKZEROOUT, range));
}

WAY("raw-discard")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	uint64_t range[2] = { unused_block(block), PAGE };

	need(ioctl(device, BLKDISCARD, range));
}

WAY("raw-uring-discard")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	off_t at = unused_block(block);
	struct io_uring_sqe *sqe;
	struct uring u;

	uring_open(&u, 8, 0);
	/* Start and length stand in addr and addr3. */
	sqe = uring_put(&u, IORING_OP_URING_CMD, device, (void *)at, 0, URING_DISCARD);
	sqe->addr3 = PAGE;
	uring_run(&u);
}

WAY("raw-fallocate")
{
	char *block = aligned_alloc(PAGE, 2 * PAGE);
	off_t at = unused_block(block);

	need(fallocate(device, FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE, at, PAGE));
}

/* Memory goes to a file of the disk, behind its file system's back. */
WAY("swap-file")
{
	need(fsync(make_file("swap", 256 * PAGE)));
	need(chmod("swap", 0600));
	run((const char *const[]){ "mkswap", "swap", NULL });
	need(swapon("swap", 0));
	need(swapoff("swap"));
}
