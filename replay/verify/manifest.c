// SPDX-License-Identifier: MIT
/*
 * Prints what an ext4 image holds, one line for each name, for comparison.
 *
 *   lemona-manifest IMAGE.raw > manifest
 *   lemona-manifest --mask FILE IMAGE.raw > manifest
 *   lemona-manifest --names IMAGE.raw > names
 *
 * FILE has lines "PATH TAB FIRST TAB END", escaped, in any order: bytes FIRST
 * to END - 1 of that file count as zeros, and the file is hashed by blocks, as
 * a large one is, without its last zeros: so two files agree if they differ in
 * those bytes alone. --names prints "PATH TAB INODE TAB GENERATION TAB SIZE" instead, without
 * reading content, after the line "lemona-names 1".
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
 * may be 16 TiB of nothing, it is "blocks:" and the SHA-256 of all blocks that
 * are not zero, each after its offset as a little-endian u64.
 *
 * Left out, as layout and not content: inode numbers and generations,
 * directory sizes, block addresses, holes and preallocated blocks (both read
 * as zeros), and the flags INDEX, EXTENTS, HUGE_FILE, EOFBLOCKS, INLINE_DATA
 * and EA_INODE.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <ext2fs/ext2fs.h>
#include <openssl/evp.h>

#include "mask.h"

#define CHUNK (1u << 20)
#define SPARSE_BYTES (1ull << 30)
#define LAYOUT_FLAGS (EXT2_INDEX_FL | EXT4_HUGE_FILE_FL | EXT4_EXTENTS_FL | \
		      0x00400000 /* EOFBLOCKS */ | EXT4_INLINE_DATA_FL | EXT4_EA_INODE_FL)

enum { EXIT_CORRUPT = 1, EXIT_USAGE = 2, EXIT_RECOVERY = 3, EXIT_ENVIRONMENT = 4 };

struct text {
	char *at;
	size_t len, room;
};

struct name {
	char *bytes;
	unsigned int len;
	ext2_ino_t ino;
};

struct names {
	struct name *at;
	size_t count, room;
};

/* First path of an inode with several links. */
struct first {
	struct first *next;
	ext2_ino_t ino;
	char path[];
};

static bool names_only;
static ext2_filsys fs;
static int raw;
static struct text path, line;
static struct first *firsts[65536];
static unsigned char chunk[CHUNK], zeros[CHUNK];
static unsigned long long name_count, byte_count;
static EVP_MD_CTX *md;

static void __attribute__((noreturn, format(printf, 2, 3)))
die(int status, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("lemona-manifest: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(status);
}

static void __attribute__((noreturn)) corrupt(const char *doing, errcode_t error)
{
	die(EXIT_CORRUPT, "%.1000s: %s: %s", path.len ? path.at : "/", doing, error_message(error));
}

static void room_for(struct text *t, size_t more)
{
	if (t->len + more + 1 <= t->room)
		return;
	t->room = (t->len + more + 1) * 2;
	t->at = realloc(t->at, t->room);
	if (!t->at)
		die(EXIT_ENVIRONMENT, "out of memory");
}

static void __attribute__((format(printf, 2, 3)))
put(struct text *t, const char *format, ...)
{
	va_list args;
	int n;

	room_for(t, 256);
	va_start(args, format);
	n = vsnprintf(t->at + t->len, 256, format, args);
	va_end(args);
	t->len += n;
}

static void put_escaped(struct text *t, const char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t i;

	room_for(t, len * 3);
	for (i = 0; i < len; i++) {
		unsigned char c = bytes[i];

		if (c < 0x21 || c > 0x7e || c == '%' || c == ',' || c == '=') {
			t->at[t->len++] = '%';
			t->at[t->len++] = hex[c >> 4];
			t->at[t->len++] = hex[c & 15];
		} else {
			t->at[t->len++] = c;
		}
	}
	t->at[t->len] = 0;
}

static void put_hex(struct text *t, const unsigned char *bytes, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	size_t i;

	room_for(t, len * 2);
	for (i = 0; i < len; i++) {
		t->at[t->len++] = hex[bytes[i] >> 4];
		t->at[t->len++] = hex[bytes[i] & 15];
	}
	t->at[t->len] = 0;
}

/* --- content --- */

/* Of the file that is being hashed. */
static bool sparse;
static uint64_t position;

static void hash(const void *data, size_t len)
{
	if (EVP_DigestUpdate(md, data, len) != 1)
		die(EXIT_ENVIRONMENT, "SHA-256 failed");
	byte_count += len;
}

static void hash_zeros(uint64_t len)
{
	position += len;
	while (len && !sparse) {
		size_t n = len < CHUNK ? len : CHUNK;

		hash(zeros, n);
		len -= n;
	}
}

/* One block that is not zero, with its place; of one with hidden bytes, what comes before its last zeros. */
static void hash_block(const unsigned char *data, size_t len)
{
	unsigned char offset[8];
	size_t i;

	while (mask_hides() && len && !data[len - 1])
		len--;
	for (i = 0; i < sizeof(offset); i++)
		offset[i] = position >> (8 * i);
	hash(offset, sizeof(offset));
	hash(data, len);
}

/* The file's next bytes, which may be changed; all but the last ones are whole blocks. */
static void hash_content(unsigned char *data, size_t len)
{
	size_t done, n;

	mask_hide(data, len, position);
	if (!sparse) {
		hash(data, len);
		return;
	}
	for (done = 0; done < len; done += n) {
		n = len - done < fs->blocksize ? len - done : fs->blocksize;
		if (memcmp(data + done, zeros, n))
			hash_block(data + done, n);
		position += n;
	}
}

static void choose_mask(void)
{
	static struct text shown;

	shown.len = 0;
	put_escaped(&shown, path.at, path.len);
	mask_choose(shown.at);
}

static void hash_disk(uint64_t at, uint64_t len)
{
	while (len) {
		size_t want = len < CHUNK ? len : CHUNK;
		ssize_t n = pread(raw, chunk, want, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			die(EXIT_CORRUPT, "%s: reading %zu bytes at %llu of the image: %s", path.at,
			    want, (unsigned long long)at, n ? strerror(errno) : "past its end");
		/* Whole blocks, but at the end. */
		if ((size_t)n < want && n >= fs->blocksize)
			n -= n % fs->blocksize;
		hash_content(chunk, n);
		at += n;
		len -= n;
	}
}

/* Extents that were allocated but never written read as zeros. */
static void hash_extents(ext2_ino_t ino, struct ext2_inode *inode, uint64_t size)
{
	ext2_extent_handle_t handle;
	struct ext2fs_extent extent;
	uint64_t done = 0;
	int op = EXT2_EXTENT_ROOT;
	errcode_t error = ext2fs_extent_open2(fs, ino, inode, &handle);

	if (error)
		corrupt("opening its extents", error);
	for (;; op = EXT2_EXTENT_NEXT) {
		uint64_t start, end;

		error = ext2fs_extent_get(handle, op, &extent);
		if (error == EXT2_ET_EXTENT_NO_NEXT)
			break;
		if (error) {
			/* the root of an empty tree has nothing to get */
			if (op == EXT2_EXTENT_ROOT && error == EXT2_ET_NO_CURRENT_NODE)
				break;
			corrupt("reading its extents", error);
		}
		if (!(extent.e_flags & EXT2_EXTENT_FLAGS_LEAF))
			continue;
		start = extent.e_lblk * (uint64_t)fs->blocksize;
		end = start + extent.e_len * (uint64_t)fs->blocksize;
		if (start >= size)
			break;
		if (end > size)
			end = size;
		if (start < done)
			die(EXIT_CORRUPT, "%s: extents overlap", path.at);
		hash_zeros(start - done);
		if (extent.e_flags & EXT2_EXTENT_FLAGS_UNINIT)
			hash_zeros(end - start);
		else
			hash_disk(extent.e_pblk * (uint64_t)fs->blocksize, end - start);
		done = end;
	}
	ext2fs_extent_free(handle);
	hash_zeros(size - done);
}

/* Block maps and inline data. */
static void hash_slowly(ext2_ino_t ino, struct ext2_inode *inode, uint64_t size)
{
	ext2_file_t file;
	errcode_t error = ext2fs_file_open2(fs, ino, inode, 0, &file);

	while (!error && size) {
		unsigned int got = 0;

		error = ext2fs_file_read(file, chunk, size < CHUNK ? size : CHUNK, &got);
		if (!error && !got)
			die(EXIT_CORRUPT, "%s: content ends %llu bytes early", path.at,
			    (unsigned long long)size);
		hash_content(chunk, got);
		size -= got;
	}
	if (error)
		corrupt("reading it", error);
	ext2fs_file_close(file);
}

static void put_content(ext2_ino_t ino, struct ext2_inode *inode)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t size = EXT2_I_SIZE(inode);
	unsigned int len;

	if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		die(EXIT_ENVIRONMENT, "SHA-256 is not available");
	choose_mask();
	/* A file with hidden bytes is hashed by blocks whatever its size, which may differ. */
	sparse = size > SPARSE_BYTES || mask_hides();
	position = 0;
	if (inode->i_flags & EXT4_EXTENTS_FL)
		hash_extents(ino, inode, size);
	else
		hash_slowly(ino, inode, size);
	if (EVP_DigestFinal_ex(md, digest, &len) != 1)
		die(EXIT_ENVIRONMENT, "SHA-256 failed");
	if (sparse)
		put(&line, "blocks:");
	put_hex(&line, digest, len);
}

static void put_target(ext2_ino_t ino, struct ext2_inode *inode)
{
	uint64_t size = EXT2_I_SIZE(inode);
	ext2_file_t file;
	unsigned int got = 0;
	errcode_t error;

	if (ext2fs_is_fast_symlink(inode)) {
		if (size >= sizeof(inode->i_block))
			die(EXIT_CORRUPT, "%s: target of %llu bytes in the inode", path.at,
			    (unsigned long long)size);
		put_escaped(&line, (char *)inode->i_block, size);
		return;
	}
	if (size > fs->blocksize)
		die(EXIT_CORRUPT, "%s: target of %llu bytes", path.at, (unsigned long long)size);
	error = ext2fs_file_open2(fs, ino, inode, 0, &file);
	if (!error)
		error = ext2fs_file_read(file, chunk, size, &got);
	if (error)
		corrupt("reading its target", error);
	ext2fs_file_close(file);
	put_escaped(&line, (char *)chunk, got);
}

/* --- extended attributes --- */

struct xattrs {
	char **at;
	size_t count, room;
};

static int collect_xattr(char *name, char *value, size_t len, void *data)
{
	struct xattrs *all = data;
	struct text one = { 0 };

	if (strcmp(name, "system.data") == 0)
		return 0; /* inline content, hashed as such */
	put_escaped(&one, name, strlen(name));
	put(&one, "=");
	put_hex(&one, (unsigned char *)value, len);
	if (all->count == all->room) {
		all->room = all->room ? all->room * 2 : 16;
		all->at = realloc(all->at, all->room * sizeof(*all->at));
		if (!all->at)
			die(EXIT_ENVIRONMENT, "out of memory");
	}
	all->at[all->count++] = one.at;
	return 0;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_xattrs(ext2_ino_t ino)
{
	struct ext2_xattr_handle *handle;
	struct xattrs all = { 0 };
	size_t i;
	errcode_t error = ext2fs_xattrs_open(fs, ino, &handle);

	if (!error)
		error = ext2fs_xattrs_read(handle);
	if (!error)
		error = ext2fs_xattrs_iterate(handle, collect_xattr, &all);
	if (error)
		corrupt("reading its extended attributes", error);
	ext2fs_xattrs_close(&handle);
	qsort(all.at, all.count, sizeof(*all.at), by_text);
	for (i = 0; i < all.count; i++) {
		size_t len = strlen(all.at[i]);

		if (i)
			put(&line, ",");
		room_for(&line, len);
		memcpy(line.at + line.len, all.at[i], len + 1);
		line.len += len;
		free(all.at[i]);
	}
	free(all.at);
	if (!all.count)
		put(&line, "-");
}

/* --- inodes --- */

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

/* Prints one name; returns whether it is a directory. */
static bool print_name(ext2_ino_t ino)
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

static int collect_name(ext2_ino_t dir, int entry, struct ext2_dir_entry *d, int offset,
			int blocksize, char *buf, void *data)
{
	struct names *all = data;
	unsigned int len = ext2fs_dirent_name_len(d);
	struct name *n;

	(void)dir, (void)entry, (void)offset, (void)blocksize, (void)buf;
	if ((len == 1 && d->name[0] == '.') || (len == 2 && !memcmp(d->name, "..", 2)))
		return 0;
	if (all->count == all->room) {
		all->room = all->room ? all->room * 2 : 64;
		all->at = realloc(all->at, all->room * sizeof(*all->at));
	}
	if (!all->at)
		die(EXIT_ENVIRONMENT, "out of memory");
	n = &all->at[all->count++];
	n->bytes = malloc(len + 1);
	if (!n->bytes)
		die(EXIT_ENVIRONMENT, "out of memory");
	memcpy(n->bytes, d->name, len);
	n->bytes[len] = 0;
	n->len = len;
	n->ino = d->inode;
	return 0;
}

static int by_bytes(const void *a, const void *b)
{
	const struct name *x = a, *y = b;
	int order = memcmp(x->bytes, y->bytes, x->len < y->len ? x->len : y->len);

	return order ? order : (int)x->len - (int)y->len;
}

/* One directory on the way down; its path is the first bytes of @path. */
struct level {
	struct names names;
	size_t next, path_len;
};

static struct level *levels;
static size_t depth, depth_room;

static void enter(ext2_ino_t dir)
{
	struct level *level;
	errcode_t error;

	/* More levels than inodes: a directory that holds itself. */
	if (depth >= fs->super->s_inodes_count)
		die(EXIT_CORRUPT, "%.200s: %zu directories deep", path.at, depth);
	if (depth == depth_room) {
		depth_room = depth_room ? depth_room * 2 : 64;
		levels = realloc(levels, depth_room * sizeof(*levels));
		if (!levels)
			die(EXIT_ENVIRONMENT, "out of memory");
	}
	level = &levels[depth++];
	*level = (struct level){ .path_len = path.len };
	error = ext2fs_dir_iterate2(fs, dir, 0, NULL, collect_name, &level->names);
	if (error)
		corrupt("reading the directory", error);
	qsort(level->names.at, level->names.count, sizeof(*level->names.at), by_bytes);
}

/* No recursion: a tree may be deeper than the stack. */
static void walk(void)
{
	enter(EXT2_ROOT_INO);
	while (depth) {
		struct level *level = &levels[depth - 1];
		struct name *n;

		path.len = level->path_len;
		path.at[path.len] = 0;
		if (level->next == level->names.count) {
			free(level->names.at);
			depth--;
			continue;
		}
		n = &level->names.at[level->next++];
		room_for(&path, n->len + 1);
		path.at[path.len++] = '/';
		memcpy(path.at + path.len, n->bytes, n->len + 1);
		path.len += n->len;
		free(n->bytes);
		if (print_name(n->ino))
			enter(n->ino);
	}
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
	error = ext2fs_open(image, EXT2_FLAG_64BITS, 0, 0, unix_io_manager, &fs);
	if (error)
		die(EXIT_CORRUPT, "%s: %s", image, error_message(error));
	if (ext2fs_has_feature_journal_needs_recovery(fs->super))
		die(EXIT_RECOVERY, "%s needs journal recovery: it was not frozen or unmounted cleanly",
		    image);
	setvbuf(stdout, out, _IOFBF, sizeof(out));
	md = EVP_MD_CTX_new();
	room_for(&path, 1);
	path.at[0] = 0;
	if (!md)
		die(EXIT_ENVIRONMENT, "out of memory");
	puts(names_only ? "lemona-names 1" : "lemona-manifest 1");
	print_name(EXT2_ROOT_INO);
	walk();
	printf("end %llu %llu\n", name_count, byte_count);
	if (fflush(stdout))
		die(EXIT_ENVIRONMENT, "writing: %s", strerror(errno));
	ext2fs_free(fs);
	return 0;
}
