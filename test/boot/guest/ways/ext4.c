// SPDX-License-Identifier: MIT
/*
 * ioctls of ext4 that no effect describes, each by the 64-bit and by the 32-bit entry where both exist: they change how
 * the file system is laid out, or what it is called. The disk has groups of 32 MiB, and room behind its file system.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "ways.h"

#ifndef QFMT_VFS_V1
#define QFMT_VFS_V1	4
#endif

/* fs/ext4/ext4.h; the 32-bit ones where they differ */
#define SETVERSION	_IOW('f', 4, long)
#define SETVERSION_OLD	_IOW('v', 2, long)
#define SETVERSION_32	_IOW('f', 4, int)
#define SETVERSION_OLD_32 _IOW('v', 2, int)
#define GROUP_EXTEND	_IOW('f', 7, unsigned long)
#define GROUP_EXTEND_32	_IOW('f', 7, unsigned int)
#define GROUP_ADD	_IOW('f', 8, struct new_group)
#define GROUP_ADD_32	_IOW('f', 8, struct new_group_32)
#define MIGRATE		_IO('f', 9)
#define MOVE_EXT	_IOWR('f', 15, struct move_extent)
#define RESIZE_FS	_IOW('f', 16, uint64_t)
#define SWAP_BOOT	_IO('f', 17)
#define SETFSUUID	_IOW('f', 44, struct fsuuid)
#define SHUTDOWN	_IOR('X', 125, uint32_t)

struct new_group {
	uint32_t group;
	uint64_t block_bitmap, inode_bitmap, inode_table;
	uint32_t blocks_count;
	uint16_t reserved_blocks, unused;
};

struct new_group_32 {
	uint32_t group;
	uint64_t block_bitmap, inode_bitmap, inode_table;
	uint32_t blocks_count;
	uint16_t reserved_blocks, unused;
} __attribute__((packed, aligned(4)));

struct move_extent {
	uint32_t reserved, donor_fd;
	uint64_t orig_start, donor_start, len, moved_len;
};

/* Its bytes follow it. */
struct fsuuid {
	uint32_t len, flags;
};

#define GROUP_BLOCKS	8192

/* ioctl() as a 32-bit program calls it */
static int ioctl_32(int fd, unsigned int command, const void *arg, size_t len)
{
	char *low = (char *)need(mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
				      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0));
	int result;

	memcpy(low, arg, len);
	asm volatile("int $0x80" : "=a"(result) : "a"(54), "b"(fd), "c"(command), "d"(low) : "memory");
	munmap(low, PAGE);
	if (result >= 0)
		return result;
	errno = -result;
	return -1;
}

static int root(void)
{
	return need(open("/", O_RDONLY | O_DIRECTORY));
}

static uint64_t blocks_of_fs(void)
{
	struct statfs st;

	need(statfs("/", &st));
	return st.f_blocks;
}

WAY("set-version")
{
	long version = 1234567;

	need(ioctl(make_file("renumbered", 5000), SETVERSION, &version));
}

WAY("set-version-old")
{
	long version = 1234567;

	need(ioctl(make_file("renumbered", 5000), SETVERSION_OLD, &version));
}

WAY("set-version-32")
{
	int version = 1234567;

	need(ioctl_32(make_file("renumbered", 5000), SETVERSION_32, &version, sizeof(version)));
}

WAY("set-version-old-32")
{
	int version = 1234567;

	need(ioctl_32(make_file("renumbered", 5000), SETVERSION_OLD_32, &version, sizeof(version)));
}

/* Two files of several blocks, and the command that gives the first the blocks of the second */
static struct move_extent two_files(int *fd)
{
	struct move_extent move = { .orig_start = 1, .donor_start = 1, .len = 3 };

	*fd = make_file("fragmented", 8 * PAGE);
	move.donor_fd = make_file("donor", 8 * PAGE);
	need(fsync(*fd));
	need(fsync(move.donor_fd));
	return move;
}

WAY("move-extents")
{
	int fd;
	struct move_extent move = two_files(&fd);

	need(ioctl(fd, MOVE_EXT, &move));
	must(move.moved_len == 3);
}

WAY("move-extents-32")
{
	int fd;
	struct move_extent move = two_files(&fd);

	need(ioctl_32(fd, MOVE_EXT, &move, sizeof(move)));
}

WAY("swap-boot")
{
	int fd = make_file("loader", 3 * PAGE);

	need(fsync(fd));
	need(ioctl(fd, SWAP_BOOT));
}

WAY("migrate")
{
	int fd = make_file("mapped", 3 * PAGE), flags;

	need(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	flags &= ~FS_EXTENT_FL;
	need(ioctl(fd, FS_IOC_SETFLAGS, &flags));
	need(ioctl(fd, MIGRATE));
	need(ioctl(fd, FS_IOC_GETFLAGS, &flags));
	must(flags & FS_EXTENT_FL);
}

/* A group behind the last one, as resize2fs would lay it out */
static struct new_group next_group(uint32_t group)
{
	uint64_t first = (uint64_t)group * GROUP_BLOCKS;

	/* a copy of the superblock or its descriptors may come first */
	return (struct new_group){
		.group = group,
		.block_bitmap = first + 1000,
		.inode_bitmap = first + 1001,
		.inode_table = first + 1002,
		.blocks_count = GROUP_BLOCKS,
	};
}

WAY("group-add")
{
	struct new_group group = next_group(4);

	need(ioctl(root(), GROUP_ADD, &group));
}

WAY("group-add-32")
{
	struct new_group wide = next_group(5);
	struct new_group_32 group = {
		.group = wide.group,
		.block_bitmap = wide.block_bitmap,
		.inode_bitmap = wide.inode_bitmap,
		.inode_table = wide.inode_table,
		.blocks_count = GROUP_BLOCKS / 2,
	};

	_Static_assert(sizeof(group) == 36, "as in a 32-bit program");
	need(ioctl_32(root(), GROUP_ADD_32, &group, sizeof(group)));
}

WAY("group-extend")
{
	unsigned long blocks = 5 * GROUP_BLOCKS + GROUP_BLOCKS / 2 + 100;

	need(ioctl(root(), GROUP_EXTEND, &blocks));
}

WAY("group-extend-32")
{
	unsigned int blocks = 6 * GROUP_BLOCKS;

	need(ioctl_32(root(), GROUP_EXTEND_32, &blocks, sizeof(blocks)));
}

WAY("resize")
{
	uint64_t blocks = 7 * GROUP_BLOCKS, before = blocks_of_fs();

	need(ioctl(root(), RESIZE_FS, &blocks));
	must(blocks_of_fs() > before);
}

WAY("resize-32")
{
	uint64_t blocks = 8 * GROUP_BLOCKS, before = blocks_of_fs();

	need(ioctl_32(root(), RESIZE_FS, &blocks, sizeof(blocks)));
	must(blocks_of_fs() > before);
}

static void set_uuid(int by_32)
{
	struct {
		struct fsuuid head;
		unsigned char uuid[16];
	} arg = { { .len = 16 }, { 0 } };

	fill(arg.uuid, sizeof(arg.uuid));
	need(by_32 ? ioctl_32(root(), SETFSUUID, &arg, sizeof(arg)) : ioctl(root(), SETFSUUID, &arg));
}

WAY("set-uuid")
{
	set_uuid(0);
}

WAY("set-uuid-32")
{
	set_uuid(1);
}

WAY("set-label")
{
	char label[FSLABEL_MAX] = "another";

	need(ioctl(root(), FS_IOC_SETFSLABEL, label));
}

WAY("set-label-32")
{
	char label[FSLABEL_MAX] = "a third";

	need(ioctl_32(root(), FS_IOC_SETFSLABEL, label, sizeof(label)));
}

/* An empty file of quotas: a header, what is known of it, and the root of a tree without leaves */
WAY("quota-on")
{
	uint32_t head[] = { 0xd9c01f11, 1, 604800, 604800, 0, 2, 0, 0 };
	char file[2048] = "";
	int fd = make_file("aquota", 0);

	memcpy(file, head, sizeof(head));
	must(write(fd, file, sizeof(file)) == sizeof(file));
	need(fsync(fd));
	close(fd);
	need(quotactl(QCMD(Q_QUOTAON, USRQUOTA), "/dev/vda", QFMT_VFS_V1, "aquota"));
	need(quotactl(QCMD(Q_QUOTAOFF, USRQUOTA), "/dev/vda", 0, NULL));
}

/* Nothing gets to the disk from then on. ARG is how: 0 after all is written, 1 after the journal is, 2 at once. */
WAY("shut-down")
{
	uint32_t how = *way_arg - '0';

	need(ioctl(root(), SHUTDOWN, &how));
}

WAY("shut-down-32")
{
	uint32_t how = *way_arg - '0';

	need(ioctl_32(root(), SHUTDOWN, &how, sizeof(how)));
}
