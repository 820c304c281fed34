// SPDX-License-Identifier: MIT
/*
 * Inodes without a name that a live checkpoint holds open.
 *
 * ext4 chains them through the superblock; mounting the disk frees them. So
 * they are read before the mount: effects on them are no riddle then, but
 * effects that no path can reach.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"

#define INCOMPAT_META_BG 0x10
#define INCOMPAT_INLINE_DATA 0x8000
#define INCOMPAT_64BIT 0x80
/* A longer chain than this is a damaged disk. */
#define CHAIN_MAX 1000000
/* 64 KiB blocks */
#define LOG_BLOCK_MAX 6

static uint32_t le32(const unsigned char *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Adds the orphans to the table as dead. Returns how many, or -1. */
int orphans_read(const char *device)
{
	unsigned char sb[1024], desc[64], inode[128];
	uint32_t ino, per_group, inode_size, desc_size, first_block;
	uint64_t block_size, table;
	int fd = open(device, O_RDONLY | O_CLOEXEC), count = 0, steps;

	if (fd < 0)
		return -1;
	if (pread(fd, sb, sizeof(sb), 1024) != sizeof(sb) || sb[56] != 0x53 || sb[57] != 0xef)
		goto broken;
	if (le32(sb + 96) & INCOMPAT_META_BG)
		goto broken;
	rp.keep_folders = le32(sb + 96) & INCOMPAT_INLINE_DATA;
	block_size = 1024ull << le32(sb + 24);
	first_block = le32(sb + 20);
	per_group = le32(sb + 40);
	inode_size = sb[88] | sb[89] << 8;
	desc_size = le32(sb + 96) & INCOMPAT_64BIT ? sb[254] | sb[255] << 8 : 32;
	if (!per_group || inode_size < 128 || desc_size < 32 || le32(sb + 24) > LOG_BLOCK_MAX)
		goto broken;
	/* Steps are counted: a chain that bites its own tail ends too. */
	ino = le32(sb + 232);
	for (steps = 0; ino && steps < CHAIN_MAX; steps++, ino = le32(inode + 20)) {
		uint64_t at = (first_block + 1) * block_size +
			      (uint64_t)((ino - 1) / per_group) * desc_size;

		memset(desc, 0, sizeof(desc));
		if (pread(fd, desc, desc_size < 64 ? desc_size : 64, at) < 32)
			goto broken;
		table = le32(desc + 8) | (uint64_t)le32(desc + 40) << 32;
		at = table * block_size + (uint64_t)((ino - 1) % per_group) * inode_size;
		if (pread(fd, inode, sizeof(inode), at) != sizeof(inode))
			goto broken;
		/* links 0: without a name; else the chain means an unfinished truncate */
		if (!inode[26] && !inode[27] && !object_find(ino, le32(inode + 100))) {
			object_add_dead(ino, le32(inode + 100));
			count++;
		}
	}
	close(fd);
	return count;
broken:
	close(fd);
	return -1;
}
