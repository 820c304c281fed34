// SPDX-License-Identifier: MIT
/*
 * Prints what an ext4 image holds, one line for each name, for comparison.
 *
 *   lemona-manifest IMAGE.raw > manifest
 *   lemona-manifest --mask FILE IMAGE.raw > manifest
 *   lemona-manifest --names IMAGE.raw > names
 *
 * FILE has lines "PATH TAB FIRST TAB END", escaped, in any order: bytes FIRST to
 * END - 1 of that file count as zeros, and so does what is missing behind its
 * end, so that two files agree if they differ in those bytes alone. --names
 * prints "PATH TAB INODE TAB GENERATION TAB SIZE" instead, without reading
 * content, after the line "lemona-names 1".
 *
 * The image is only read. Its journal must be empty: an image that needs
 * recovery is refused, because what it holds is not what a mount would show.
 *
 * Lines: fields separated by TAB. A byte outside 0x21..0x7e and each of
 * "%,=" inside a text is written as %XX. "-" stands for "does not apply".
 *
 *   lemona-manifest 1
 *   PATH TYPE MODE UID GID SIZE NLINK RDEV ATIME MTIME CTIME BTIME FLAGS
 *     PROJID LINK TARGET SHA256 XATTRS                  (one line a name)
 *   end NAMES BYTES                      (names printed, content bytes hashed)
 *
 * PATH starts with "/". Names come in depth-first order, those of one
 * directory by their bytes, a directory before what it holds.
 * TYPE is one of f d l c b p s. MODE has the permission bits in octal. Times
 * are seconds.nanoseconds. LINK is the first printed path of the inode, for
 * inodes with more than one link that are no directories. XATTRS are name=hex
 * pairs, sorted; ACLs are among them.
 *
 * SHA256 is that of the content. For a file larger than SPARSE_BYTES, which
 * may be 16 TiB of nothing, and for one with hidden bytes, it is "blocks:" and
 * the SHA-256 of all blocks that are not zero, each after its offset as a
 * little-endian u64; with hidden bytes, the last block is filled with zeros.
 *
 * Left out, as layout and not content: inode numbers and generations,
 * directory sizes, block addresses, holes and preallocated blocks (both read
 * as zeros), and the flags INDEX, EXTENTS, HUGE_FILE, INLINE_DATA and
 * EA_INODE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "manifest.h"
#include "mask.h"

#define LAYOUT_FLAGS (EXT2_INDEX_FL | EXT4_HUGE_FILE_FL | EXT4_EXTENTS_FL | \
		      EXT4_INLINE_DATA_FL | EXT4_EA_INODE_FL)

/* First path of an inode with several links. */
struct first {
	struct first *next;
	ext2_ino_t ino;
	char path[];
};

ext2_filsys fs;
int raw;
struct text path, line;

static bool names_only;
static struct first *firsts[65536];
static unsigned long long name_count;

void corrupt(const char *doing, errcode_t error)
{
	die(EXIT_CORRUPT, "%.1000s: %s: %s", path.len ? path.at : "/", doing, error_message(error));
}

static char type_of(unsigned int mode)
{
	switch (mode & LINUX_S_IFMT) {
	case LINUX_S_IFREG: return 'f';
	case LINUX_S_IFDIR: return 'd';
	case LINUX_S_IFLNK: return 'l';
	case LINUX_S_IFCHR: return 'c';
	case LINUX_S_IFBLK: return 'b';
	case LINUX_S_IFIFO: return 'p';
	case LINUX_S_IFSOCK: return 's';
	}
	die(EXIT_CORRUPT, "%s: mode 0%o has no type", path.at, mode);
}

/* The two low bits of the extra word extend the seconds, the others are nanoseconds. */
static void put_time(uint32_t seconds, uint32_t extra)
{
	int64_t s = (int32_t)seconds;

	s += (int64_t)(extra & 3) << 32;
	put(&line, "\t%lld.%09u", (long long)s, extra >> 2);
}

static void put_rdev(const struct ext2_inode *inode)
{
	uint32_t dev = inode->i_block[0];

	if (dev)
		put(&line, "\t%u:%u", dev >> 8 & 0xff, dev & 0xff);
	else
		put(&line, "\t%u:%u", (inode->i_block[1] & 0xfff00) >> 8,
		    (inode->i_block[1] & 0xff) | (inode->i_block[1] >> 12 & 0xfff00));
}

static void put_first_path(ext2_ino_t ino)
{
	struct first **bucket = &firsts[ino % 65536], *f;

	for (f = *bucket; f; f = f->next) {
		if (f->ino != ino)
			continue;
		put(&line, "\t");
		put_escaped(&line, f->path, strlen(f->path));
		return;
	}
	f = malloc(sizeof(*f) + path.len + 1);
	if (!f)
		die(EXIT_ENVIRONMENT, "out of memory");
	f->ino = ino;
	memcpy(f->path, path.at, path.len + 1);
	f->next = *bucket;
	*bucket = f;
	put(&line, "\t");
	put_escaped(&line, path.at, path.len);
}

#define HAS(large, field) \
	(EXT2_INODE_SIZE(fs->super) > 128 && \
	 128u + (large)->i_extra_isize >= \
	 offsetof(struct ext2_inode_large, field) + sizeof((large)->field))

bool print_name(ext2_ino_t ino)
{
	struct ext2_inode_large large = { 0 };
	struct ext2_inode *inode = (struct ext2_inode *)&large;
	const char *shown = path.len ? path.at : "/";
	errcode_t error = ext2fs_read_inode_full(fs, ino, inode, sizeof(large));
	bool ns, dir;
	char type;

	if (error)
		corrupt("reading its inode", error);
	if (!inode->i_links_count)
		die(EXIT_CORRUPT, "%s: a name of inode %u, which has no links", shown, ino);
	type = type_of(inode->i_mode);
	dir = type == 'd';
	if (names_only) {
		line.len = 0;
		put_escaped(&line, shown, strlen(shown));
		printf("%s\t%u\t%u\t%llu\n", line.at, ino, inode->i_generation, dir ? 0ull : (unsigned long long)EXT2_I_SIZE(inode));
		name_count++;
		return dir;
	}
	ns = HAS(&large, i_ctime_extra) && HAS(&large, i_atime_extra);
	line.len = 0;
	put_escaped(&line, shown, strlen(shown));
	put(&line, "\t%c\t%04o\t%u\t%u", type, inode->i_mode & 07777,
	    inode_uid(*inode), inode_gid(*inode));
	if (dir)
		put(&line, "\t-");
	else
		put(&line, "\t%llu", (unsigned long long)EXT2_I_SIZE(inode));
	put(&line, "\t%u", inode->i_links_count);
	if (type == 'c' || type == 'b')
		put_rdev(inode);
	else
		put(&line, "\t-");
	put_time(inode->i_atime, ns ? large.i_atime_extra : 0);
	put_time(inode->i_mtime, ns ? large.i_mtime_extra : 0);
	put_time(inode->i_ctime, ns ? large.i_ctime_extra : 0);
	if (HAS(&large, i_crtime) && HAS(&large, i_crtime_extra))
		put_time(large.i_crtime, large.i_crtime_extra);
	else
		put(&line, "\t-");
	put(&line, "\t%08x\t%u", inode->i_flags & ~LAYOUT_FLAGS,
	    HAS(&large, i_projid) ? large.i_projid : 0);
	if (!dir && inode->i_links_count > 1)
		put_first_path(ino);
	else
		put(&line, "\t-");
	put(&line, "\t");
	if (type == 'l')
		put_target(ino, inode);
	else
		put(&line, "-");
	put(&line, "\t");
	if (type == 'f')
		put_content(ino, inode);
	else
		put(&line, "-");
	put(&line, "\t");
	put_xattrs(ino);
	put(&line, "\n");
	if (fwrite(line.at, 1, line.len, stdout) != line.len)
		die(EXIT_ENVIRONMENT, "writing: %s", strerror(errno));
	name_count++;
	return dir;
}

int main(int argc, char **argv)
{
	static char out[1 << 16];
	errcode_t error;

	const char *image = argv[argc - 1];

	names_only = argc == 3 && strcmp(argv[1], "--names") == 0;
	if (argc == 4 && strcmp(argv[1], "--mask") == 0) {
		if (mask_read(argv[2]) < 0)
			die(EXIT_ENVIRONMENT, "%s: %s", argv[2], strerror(errno));
	} else if (argc != 2 && !names_only) {
		fprintf(stderr, "usage: lemona-manifest [--names | --mask FILE] IMAGE.raw\n");
		return EXIT_USAGE;
	}
	add_error_table(&et_ext2_error_table);
	raw = open(image, O_RDONLY | O_CLOEXEC);
	if (raw < 0)
		die(EXIT_ENVIRONMENT, "%s: %s", image, strerror(errno));
	/* ext2fs_open(), or no options here, would look for some behind a `?` in the name. */
	error = ext2fs_open2(image, "", EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs);
	if (error)
		die(EXIT_CORRUPT, "%s: %s", image, error_message(error));
	if (ext2fs_has_feature_journal_needs_recovery(fs->super))
		die(EXIT_RECOVERY, "%s needs journal recovery: it was not frozen or unmounted cleanly",
		    image);
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	room_for(&path, 1);
	path.at[0] = 0;
	puts(names_only ? "lemona-names 1" : "lemona-manifest 1");
	print_name(EXT2_ROOT_INO);
	walk();
	printf("end %llu %llu\n", name_count, content_bytes);
	if (fflush(stdout))
		die(EXIT_ENVIRONMENT, "writing: %s", strerror(errno));
	ext2fs_free(fs);
	return 0;
}
