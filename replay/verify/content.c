// SPDX-License-Identifier: MIT
/* What files and symbolic links hold. */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include <openssl/evp.h>

#include "manifest.h"
#include "mask.h"

#define CHUNK (1u << 20)
#define SPARSE_BYTES (1ull << 30)

unsigned long long content_bytes;

static EVP_MD_CTX *md;
static unsigned char chunk[CHUNK], zeros[CHUNK];

/* Of the file that is being hashed. */
static bool sparse;
static uint64_t position;

static void hash(const void *data, size_t len)
{
	if (EVP_DigestUpdate(md, data, len) != 1)
		die(EXIT_ENVIRONMENT, "SHA-256 failed");
	content_bytes += len;
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

/* The file's next bytes; all but the last ones are whole blocks. Hidden ones become zeros. */
static void hash_content(unsigned char *data, size_t len)
{
	size_t done, n, i;

	if (!sparse) {
		hash(data, len);
		return;
	}
	mask_hide(data, len, position);
	for (done = 0; done < len; done += n) {
		unsigned char offset[8];

		n = len - done < fs->blocksize ? len - done : fs->blocksize;
		if (memcmp(data + done, zeros, n)) {
			for (i = 0; i < sizeof(offset); i++)
				offset[i] = position >> (8 * i);
			hash(offset, sizeof(offset));
			hash(data + done, n);
			/* Where the size is hidden as well, so is where the last block ends. */
			if (mask_hides())
				hash(zeros, fs->blocksize - n);
		}
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

void put_content(ext2_ino_t ino, struct ext2_inode *inode)
{
	unsigned char digest[EVP_MAX_MD_SIZE];
	uint64_t size = EXT2_I_SIZE(inode);
	unsigned int len;

	if (!md)
		md = EVP_MD_CTX_new();
	if (!md)
		die(EXIT_ENVIRONMENT, "out of memory");
	if (EVP_DigestInit_ex(md, EVP_sha256(), NULL) != 1)
		die(EXIT_ENVIRONMENT, "SHA-256 is not available");
	choose_mask();
	sparse = mask_hides() || size > SPARSE_BYTES;
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

void put_target(ext2_ino_t ino, struct ext2_inode *inode)
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
