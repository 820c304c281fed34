// SPDX-License-Identifier: MIT
/*
 * Inodes without a name that a live checkpoint holds open.
 *
 * ext4 chains them through the superblock or, with the feature orphan_file,
 * lists them in a file of its own, and in the chain what finds no room there;
 * mounting the disk frees them. So they are read before the mount: effects on
 * them are no riddle then, but effects that no path can reach.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "replay.h"

#define COMPAT_HAS_JOURNAL 0x4
#define COMPAT_ORPHAN_FILE 0x1000
#define INCOMPAT_META_BG 0x10
#define INCOMPAT_INLINE_DATA 0x8000
#define INCOMPAT_64BIT 0x80
/* The orphan file may hold something. */
#define RO_COMPAT_ORPHAN_PRESENT 0x10000
#define FLAG_EXTENTS 0x80000
#define EXTENT_MAGIC 0xf30a
#define ORPHAN_BLOCK_MAGIC 0x0b10ca04
/* A longer chain than this is a damaged disk. */
#define CHAIN_MAX 1000000
/* So is an orphan file of more blocks, or a deeper tree of extents. */
#define FILE_BLOCKS_MAX 65536
#define DEPTH_MAX 5
/* 64 KiB blocks */
#define LOG_BLOCK_MAX 6

static struct {
	int fd;
	uint32_t per_group, inode_size, desc_size;
	uint64_t block_size;
	bool meta_bg;
	int count; /* orphans found */
	int nodes; /* of the tree of extents, read */
	const char *why; /* it can't be read */
} disk;

static uint16_t le16(const unsigned char *p)
{
	return p[0] | p[1] << 8;
}

static uint32_t le32(const unsigned char *p)
{
	return le16(p) | (uint32_t)le16(p + 2) << 16;
}

static int broken(const char *why)
{
	disk.why = why;
	return -1;
}

static int read_inode(uint32_t ino, unsigned char inode[128])
{
	/* Block 0 holds the superblock, unless blocks are as small as what stands before it. */
	uint64_t at = disk.block_size == 1024 ? 2048 : disk.block_size;
	unsigned char desc[64] = { 0 };
	uint64_t table;

	if (disk.meta_bg)
		return broken("it may have inodes without a name, which this program does not find where meta_bg is");
	at += (uint64_t)((ino - 1) / disk.per_group) * disk.desc_size;
	if (pread(disk.fd, desc, disk.desc_size < 64 ? disk.desc_size : 64, at) < 32)
		return broken("a group's descriptor is beyond its end");
	table = le32(desc + 8) | (uint64_t)le32(desc + 40) << 32;
	at = table * disk.block_size + (uint64_t)((ino - 1) % disk.per_group) * disk.inode_size;
	if (pread(disk.fd, inode, 128, at) != 128)
		return broken("a table of inodes is beyond its end");
	return 0;
}

/* The inode itself goes to @inode. */
static int add_orphan(uint32_t ino, unsigned char inode[128])
{
	if (read_inode(ino, inode) < 0)
		return -1;
	/* links 0: without a name; else an unfinished truncate is meant */
	if (!le16(inode + 26) && !object_find(ino, le32(inode + 100))) {
		object_add_dead(ino, le32(inode + 100));
		disk.count++;
	}
	return 0;
}

static int read_chain(uint32_t ino)
{
	unsigned char inode[128];
	int steps;

	/* Steps are counted: a chain that bites its own tail ends too. */
	for (steps = 0; ino && steps < CHAIN_MAX; steps++, ino = le32(inode + 20))
		if (add_orphan(ino, inode) < 0)
			return -1;
	return 0;
}

/* One block of the orphan file: numbers of inodes, 0 where there is none; a magic number and a checksum at the end. */
static int read_orphan_block(uint64_t block)
{
	unsigned char bytes[1024 << LOG_BLOCK_MAX], inode[128];
	uint32_t i, room = disk.block_size - 8;

	if (pread(disk.fd, bytes, disk.block_size, block * disk.block_size) != (ssize_t)disk.block_size ||
	    le32(bytes + room) != ORPHAN_BLOCK_MAGIC)
		return broken("its orphan file is damaged");
	for (i = 0; i < room; i += 4)
		if (le32(bytes + i) && add_orphan(le32(bytes + i), inode) < 0)
			return -1;
	return 0;
}

/* Returns how many blocks it read, at most @most, or -1. */
static int read_extents(const unsigned char *node, uint32_t size, int depth, int most)
{
	uint16_t entries = le16(node + 2), i, len, k;
	unsigned char below[1024 << LOG_BLOCK_MAX];
	int blocks = 0, r;

	if (disk.nodes++ == FILE_BLOCKS_MAX || le16(node) != EXTENT_MAGIC || le16(node + 6) != depth || 12u * (entries + 1u) > size)
		return broken("its orphan file has a damaged tree of extents");
	for (i = 0; i < entries; i++) {
		const unsigned char *entry = node + 12 * (i + 1);

		if (depth) {
			uint64_t at = le32(entry + 4) | (uint64_t)le16(entry + 8) << 32;

			if (pread(disk.fd, below, disk.block_size, at * disk.block_size) !=
			    (ssize_t)disk.block_size)
				return broken("its orphan file has a damaged tree of extents");
			r = read_extents(below, disk.block_size, depth - 1, most - blocks);
			if (r < 0)
				return -1;
			blocks += r;
			continue;
		}
		len = le16(entry + 4);
		for (k = 0; k < len; k++, blocks++) {
			if (blocks == most)
				return broken("its orphan file has more blocks than its size tells");
			if (read_orphan_block((le32(entry + 8) | (uint64_t)le16(entry + 6) << 32) + k) < 0)
				return -1;
		}
	}
	return blocks;
}

static int read_orphan_file(uint32_t ino)
{
	unsigned char inode[128];
	uint64_t blocks;
	uint16_t depth;

	if (read_inode(ino, inode) < 0)
		return -1;
	if (!(le32(inode + 32) & FLAG_EXTENTS))
		return broken("its orphan file has no extents");
	blocks = (le32(inode + 4) | (uint64_t)le32(inode + 108) << 32) / disk.block_size;
	depth = le16(inode + 40 + 6);
	if (blocks > FILE_BLOCKS_MAX || depth > DEPTH_MAX)
		return broken("its orphan file is damaged");
	return read_extents(inode + 40, 60, depth, blocks) < 0 ? -1 : 0;
}

/* Adds the orphans to the table as dead. Returns how many; or -1, and *@why the disk can't be read. */
int orphans_read(const char *device, const char **why)
{
	unsigned char sb[1024];
	int r = -1;

	disk.why = "it can't be read";
	disk.count = 0;
	disk.nodes = 0;
	disk.fd = open(device, O_RDONLY | O_CLOEXEC);
	if (disk.fd >= 0 && pread(disk.fd, sb, sizeof(sb), 1024) == sizeof(sb)) {
		disk.meta_bg = le32(sb + 96) & INCOMPAT_META_BG;
		disk.block_size = 1024ull << (le32(sb + 24) & 31);
		disk.per_group = le32(sb + 40);
		disk.inode_size = le16(sb + 88);
		disk.desc_size = le32(sb + 96) & INCOMPAT_64BIT ? le16(sb + 254) : 32;
		rp.has_journal = le32(sb + 92) & COMPAT_HAS_JOURNAL;
		rp.keep_folders = le32(sb + 96) & INCOMPAT_INLINE_DATA;
		if (le16(sb + 56) != 0xef53 || !disk.per_group || disk.inode_size < 128 || disk.desc_size < 32 ||
		    le32(sb + 24) > LOG_BLOCK_MAX)
			r = broken("it has no superblock of an ext4");
		else
			r = read_chain(le32(sb + 232));
		if (r == 0 && (le32(sb + 92) & COMPAT_ORPHAN_FILE) && (le32(sb + 100) & RO_COMPAT_ORPHAN_PRESENT))
			r = read_orphan_file(le32(sb + 640));
	}
	if (disk.fd >= 0)
		close(disk.fd);
	*why = disk.why;
	return r < 0 ? -1 : disk.count;
}
