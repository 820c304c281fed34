// SPDX-License-Identifier: MIT
/*
 * The recorded inodes and their open files. Memory is bounded by the number
 * of touched inodes that still have a name; open files by FD_MAX plus the
 * nameless inodes, and the folders where they have to stay open.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>

#include "replay.h"

/* Cached open files: opening by handle costs about ten times a cached use. */
#define FD_MAX 4096
/* FILEID_INO32_GEN of include/linux/exportfs.h: what ext4 uses */
#define HANDLE_INO32_GEN 1

struct ext4_handle {
	struct file_handle h;
	uint32_t ino, gen;
};

static struct object **buckets;
static size_t bucket_count;

static size_t hash(uint64_t ino, uint32_t gen)
{
	uint64_t x = (ino ^ ((uint64_t)gen << 32)) * 0x9e3779b97f4a7c15ull;

	return (x >> 20) & (bucket_count - 1);
}

/* Zeroed; there is no life without it. */
void *allocate(size_t bytes)
{
	void *room = calloc(1, bytes);

	if (!room)
		fatal("out of memory after %llu inodes: the replay VM has too little for this run",
		      (unsigned long long)rp.objects);
	return room;
}

static void grow(void)
{
	size_t old_count = bucket_count, i;
	struct object **old = buckets, *o, *next;

	bucket_count = old_count ? old_count * 2 : 16384;
	buckets = allocate(bucket_count * sizeof(*buckets));
	for (i = 0; i < old_count; i++) {
		for (o = old[i]; o; o = next) {
			size_t h = hash(o->attr.ino, o->attr.gen);

			next = o->chain;
			o->chain = buckets[h];
			buckets[h] = o;
		}
	}
	free(old);
}

struct object *object_find(uint64_t ino, uint32_t gen)
{
	struct object *o;

	if (!buckets)
		return NULL;
	for (o = buckets[hash(ino, gen)]; o; o = o->chain)
		if (o->attr.ino == ino && o->attr.gen == gen)
			return o;
	return NULL;
}

static struct object *object_new(uint64_t ino, uint32_t gen)
{
	struct object *o = allocate(sizeof(*o));
	size_t h;

	if (rp.objects >= bucket_count)
		grow();
	o->attr.ino = ino;
	o->attr.gen = gen;
	o->fd = -1;
	link_init(&o->lru);
	link_init(&o->dirty);
	h = hash(ino, gen);
	o->chain = buckets[h];
	buckets[h] = o;
	rp.objects++;
	return o;
}

void object_free(struct object *o)
{
	struct object **at = &buckets[hash(o->attr.ino, o->attr.gen)];

	object_close(o);
	link_del(&o->dirty);
	waiting_forget(o);
	while (*at != o)
		at = &(*at)->chain;
	*at = o->chain;
	free(o);
	rp.objects--;
}

static int open_handle(uint32_t ino, uint32_t gen, int flags)
{
	struct ext4_handle h;

	h.h.handle_bytes = 8;
	h.h.handle_type = HANDLE_INO32_GEN;
	h.ino = ino;
	h.gen = gen;
	return open_by_handle_at(rp.root, &h.h, flags | O_CLOEXEC | O_NOFOLLOW);
}

int object_read_handle(int dirfd, const char *name, uint32_t *ino, uint32_t *gen)
{
	struct ext4_handle h;
	int mount_id;

	h.h.handle_bytes = 8;
	if (name_to_handle_at(dirfd, name, &h.h, &mount_id,
			      *name ? 0 : AT_EMPTY_PATH) < 0)
		return -1;
	if (h.h.handle_type != HANDLE_INO32_GEN) {
		errno = EPROTO;
		return -1;
	}
	*ino = h.ino;
	*gen = h.gen;
	return 0;
}

/* An inode of the checkpoint, as it is there; @fd is its own then. */
static bool object_take_fd(struct object *o, int fd)
{
	struct lemona_attr *a = &o->attr;
	struct statx st;

	if (statx(fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &st) < 0)
		return false;
	o->state = LIVE;
	o->h_ino = a->ino;
	o->h_gen = a->gen;
	o->handle_known = true;
	a->mode = st.stx_mode;
	a->uid = st.stx_uid;
	a->gid = st.stx_gid;
	a->nlink = st.stx_nlink;
	a->size = st.stx_size;
	a->rdev = (st.stx_rdev_minor & 0xff) | (st.stx_rdev_major << 8) |
		  ((st.stx_rdev_minor & ~0xffu) << 12);
	a->sec[0] = st.stx_atime.tv_sec;
	a->sec[1] = st.stx_mtime.tv_sec;
	a->sec[2] = st.stx_ctime.tv_sec;
	a->sec[3] = st.stx_btime.tv_sec;
	a->nsec[0] = st.stx_atime.tv_nsec;
	a->nsec[1] = st.stx_mtime.tv_nsec;
	a->nsec[2] = st.stx_ctime.tv_nsec;
	a->nsec[3] = st.stx_btime.tv_nsec;
	o->have_attr = true;
	o->links_sure = true;
	o->size_sure = true;
	object_adopt_fd(o, fd, ACCESS_PATH);
	return true;
}

/*
 * Looks for an inode in the checkpoint. Only inodes that no effect has
 * removed get here: a removed one is in the table.
 */
static bool object_attach(struct object *o)
{
	struct lemona_attr *a = &o->attr;
	uint32_t ino, gen;
	int fd;

	if (a->ino > UINT32_MAX)
		return false;
	fd = open_handle(a->ino, a->gen, O_PATH);
	if (fd < 0)
		return false;
	/* ext4 takes any generation for a handle with generation 0 */
	if (object_read_handle(fd, "", &ino, &gen) == 0 && ino == a->ino && gen == a->gen &&
	    object_take_fd(o, fd))
		return true;
	close(fd);
	return false;
}

/* The object of (ino, gen): in the table, in the checkpoint, or not born yet. */
struct object *object_get(uint64_t ino, uint32_t gen)
{
	struct object *o = object_find(ino, gen);

	if (o)
		return o;
	o = object_new(ino, gen);
	object_attach(o);
	return o;
}

struct object *object_add_dead(uint64_t ino, uint32_t gen)
{
	struct object *o = object_new(ino, gen);

	o->state = DEAD;
	return o;
}

/* The object of an open inode of the checkpoint, which no effect was about yet; or NULL with errno. */
struct object *object_add_open(int fd)
{
	uint32_t ino, gen;
	struct object *o;

	if (object_read_handle(fd, "", &ino, &gen) < 0)
		return NULL;
	o = object_new(ino, gen);
	return object_take_fd(o, fd) ? o : NULL;
}

void object_touch(struct object *o)
{
	if (link_alone(&o->dirty))
		link_add(&rp.dirty, &o->dirty);
}

void object_close(struct object *o)
{
	if (o->fd < 0)
		return;
	/* What is in doubt may stay on the disk although the record ends it: the host must find it. */
	if (rp.doubts && !o->handle_known)
		object_learn_handle(o, o->fd, "");
	close(o->fd);
	o->fd = -1;
	o->access = CLOSED;
	o->pinned = false;
	if (!link_alone(&o->lru)) {
		link_del(&o->lru);
		rp.open_count--;
	}
}

void object_die(struct object *o)
{
	object_close(o);
	link_del(&o->dirty);
	o->state = DEAD;
}

/* Learns the handle of a born inode by its name, or by its open file. */
int object_learn_handle(struct object *o, int dirfd, const char *name)
{
	if (object_read_handle(dirfd, name, &o->h_ino, &o->h_gen) < 0)
		return -1;
	o->handle_known = true;
	return 0;
}

static void evict_oldest(void)
{
	struct object *o = container_of(rp.lru.next, struct object, lru);

	if (!o->handle_known && object_learn_handle(o, o->fd, "") < 0)
		fatal("inode %llu: no file handle: %s",
		      (unsigned long long)o->attr.ino, strerror(errno));
	object_close(o);
}

void object_adopt_fd(struct object *o, int fd, enum access access)
{
	object_close(o);
	while (rp.open_count >= FD_MAX)
		evict_oldest();
	o->fd = fd;
	o->access = access;
	if (rp.keep_folders && S_ISDIR(o->attr.mode))
		return;
	link_add(&rp.lru, &o->lru);
	rp.open_count++;
}

/* A pinned file is not evicted. */
void object_pin(struct object *o, bool pin)
{
	if (o->pinned == pin || o->fd < 0)
		return;
	o->pinned = pin;
	if (pin) {
		link_del(&o->lru);
		rp.open_count--;
	} else {
		link_add(&rp.lru, &o->lru);
		rp.open_count++;
	}
}

/* An open file of @o that allows @access, or -1 with errno. */
int object_fd(struct object *o, enum access access)
{
	int fd;

	if (o->access >= access) {
		if (!link_alone(&o->lru)) {
			link_del(&o->lru);
			link_add(&rp.lru, &o->lru);
		}
		return o->fd;
	}
	if (!o->handle_known && (o->fd < 0 || object_learn_handle(o, o->fd, "") < 0)) {
		errno = ESTALE;
		return -1;
	}
	fd = open_handle(o->h_ino, o->h_gen, access == ACCESS_RW ? O_RDWR : O_PATH);
	if (fd < 0 && errno == EPERM && object_unlock(o))
		fd = open_handle(o->h_ino, o->h_gen, O_RDWR);
	if (fd < 0)
		return -1;
	object_adopt_fd(o, fd, access);
	return fd;
}

/*
 * Takes the immutable and append-only flags off; the final pass puts them
 * back. Returns whether there was one, that is, whether to try again.
 */
bool object_unlock(struct object *o)
{
	int flags, keep, fd, error = errno;
	bool unlocked = false;

	if (!S_ISREG(o->attr.mode) && !S_ISDIR(o->attr.mode))
		return false;
	if (!o->handle_known && (o->fd < 0 || object_learn_handle(o, o->fd, "") < 0))
		return false;
	fd = open_handle(o->h_ino, o->h_gen, O_RDONLY | O_NONBLOCK);
	if (fd >= 0 && ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		keep = flags & ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
		if (keep != flags && ioctl(fd, FS_IOC_SETFLAGS, &keep) == 0) {
			if (!o->have_flags)
				o->attr.flags = flags;
			o->have_flags = true;
			o->flags_due = true;
			object_touch(o);
			unlocked = true;
		}
	}
	if (fd >= 0)
		close(fd);
	errno = error;
	return unlocked;
}

void objects_each(void (*visit)(struct object *o))
{
	struct object *o, *next;
	size_t i;

	for (i = 0; i < bucket_count; i++) {
		for (o = buckets[i]; o; o = next) {
			next = o->chain;
			visit(o);
		}
	}
}

/* The object of an inode of the rebuilt disk, or NULL. Visits them all. */
struct object *object_of_handle(uint32_t ino, uint32_t gen)
{
	struct object *o;
	size_t i;

	for (i = 0; i < bucket_count; i++)
		for (o = buckets[i]; o; o = o->chain)
			if ((o->handle_known || (o->fd >= 0 && object_learn_handle(o, o->fd, "") == 0)) &&
			    o->h_ino == ino && o->h_gen == gen)
				return o;
	return NULL;
}

void objects_close_all(void)
{
	objects_each(object_close);
}
