/* SPDX-License-Identifier: MIT */
/*
 * lemona-replay: applies recorded effects to a file system.
 *
 * Identity. An inode of the recording is (ino, gen). An inode that the
 * checkpoint holds has the same pair on the rebuilt disk and is opened by
 * file handle. One that was born later gets whatever inode the rebuilt file
 * system gives it; its handle is remembered. Paths are never used.
 *
 * Rules:
 *  1. Effects are applied in order of seq. An effect that needs an inode that
 *     is not born yet waits for the birth, and those behind it may have to
 *     wait, too (waiting.c). Of two samples of attributes the one with the
 *     higher seq is the newer one, whenever it is applied.
 *  2. Content, size, names and xattrs are applied at once; mode, owner,
 *     immutable and append-only flags and the times only in the final pass,
 *     from the last attributes seen. None of them changes what a later
 *     operation of root does, except the two flags, which must not be in its
 *     way.
 *  3. An inode whose last name went away can't come back (the kernel lets
 *     only O_TMPFILE inodes, which never had a name, be linked), so later
 *     effects on it change nothing that a path can reach: they are counted
 *     and left out. A nameless O_TMPFILE inode is held open instead.
 *  4. The final pass compares every touched inode with the record (type,
 *     links, size, rdev) before it sets the times.
 */
#ifndef LEMONA_REPLAY_H
#define LEMONA_REPLAY_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "control.h"

/* Doubly linked ring; a node that points to itself is in no list. */
struct link {
	struct link *prev, *next;
};

static inline void link_init(struct link *l)
{
	l->prev = l;
	l->next = l;
}

static inline bool link_alone(const struct link *l)
{
	return l->next == l;
}

static inline void link_del(struct link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	link_init(l);
}

/* Adds @l at the end of the ring @head. */
static inline void link_add(struct link *head, struct link *l)
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))

enum state {
	UNBORN, /* effects may wait for it: waiting.c */
	LIVE,
	DEAD, /* its last name is gone */
};

enum access {
	CLOSED,
	ACCESS_PATH, /* O_PATH */
	ACCESS_RW, /* O_RDWR, regular files only */
};

enum caps_state {
	CAPS_UNKNOWN,
	CAPS_NONE,
	CAPS_SET, /* has security.capability, which pwrite() and ftruncate() remove */
};

/* File capabilities that an operation is not to remove; size < 0: none. */
struct caps {
	ssize_t size;
	unsigned char value[24];
};

/* One recorded inode. */
struct object {
	struct object *chain; /* hash chain */
	struct link lru; /* in rp.lru while fd may be closed */
	struct link dirty; /* in rp.dirty: touched since the last final pass */
	struct waiting *waiting; /* waiting.c; NULL: nothing waits */
	struct lemona_attr attr; /* last seen; ino and gen are the key */
	uint64_t attr_seq; /* of the effect that it is from */
	uint64_t times_seq; /* of the one that its times are from */
	uint32_t h_ino, h_gen; /* handle on the rebuilt disk */
	int fd;
	uint8_t state, access, caps;
	bool handle_known;
	bool have_attr;
	bool have_flags; /* attr.flags is from a record */
	/* attr.nlink and attr.size were read under the lock that guards them, or nothing else could change them */
	bool links_sure, size_sure;
	bool flags_due; /* immutable or append-only differ from attr.flags */
	bool pinned; /* nameless: fd must stay open */
	uint8_t doubt; /* LEMONA_LOST_*, DOUBT_WHOLE: what lost effects may have changed */
};

/* replay/memory.ts gives the VM memory for as many as there may be. */
static_assert(sizeof(struct object) <= 184);

struct replay {
	/* set at BEGIN */
	uint32_t dev;
	bool go_on, strict, utimens, midway;
	bool keep_folders; /* open: see folders.c */
	bool has_journal; /* the disk */
	/* environment */
	const char *mount_point;
	const char *device; /* NULL: the mount point is mounted already */
	int root; /* the root directory of the rebuilt file system */
	int lemona; /* /dev/lemona, or -1 */
	int in, out;
	/* file descriptors kept open, oldest first */
	struct link lru;
	unsigned int open_count;
	struct link dirty;
	bool doubts; /* effects were lost: see doubt.c */
	bool doubt_all; /* and it is not known on what */
	/* counters */
	uint64_t received, applied, skipped, unreachable, held_back;
	uint64_t held_bytes; /* waiting now */
	uint64_t bytes, objects, last_seq, finished;
	uint64_t current_seq; /* of the effect that is being applied */
	uint64_t mismatches;
	uint64_t explained; /* results that differ, explained by lost effects */
	uint64_t adrift; /* effects on inodes that lost effects keep away */
	uint64_t start_ns, apply_ns, final_ns;
};

extern struct replay rp;

/* table.c */
void *allocate(size_t bytes);
struct object *object_find(uint64_t ino, uint32_t gen);
struct object *object_get(uint64_t ino, uint32_t gen);
struct object *object_add_dead(uint64_t ino, uint32_t gen);
struct object *object_add_open(int fd);
void object_free(struct object *o);
void object_touch(struct object *o);
void object_die(struct object *o);
int object_fd(struct object *o, enum access access);
void object_adopt_fd(struct object *o, int fd, enum access access);
void object_close(struct object *o);
void object_pin(struct object *o, bool pin);
int object_read_handle(int dirfd, const char *name, uint32_t *ino, uint32_t *gen);
int object_learn_handle(struct object *o, int dirfd, const char *name);
bool object_unlock(struct object *o);
struct object *object_of_handle(uint32_t ino, uint32_t gen);
void objects_each(void (*visit)(struct object *o));
void objects_close_all(void);

/* Runs @call; again without the immutable and append-only flags if they were in the way. */
#define UNLOCKED(result, call, a, b, c) do { \
	(result) = (call); \
	if ((result) < 0 && (errno == EPERM || errno == EACCES)) { \
		bool unlocked = object_unlock(a); \
		struct object *b_ = (b), *c_ = (c); \
		if (b_ && object_unlock(b_)) \
			unlocked = true; \
		if (c_ && object_unlock(c_)) \
			unlocked = true; \
		if (unlocked) \
			(result) = (call); \
	} \
} while (0)

/* plan.c */
void plan_open_disk(const char *device);
const struct lemona_rec *plan_next(uint32_t *size);

/* writes.c */
void writes_add(const struct lemona_write *w, struct object *o);
void writes_flush(void);

/* apply.c */
void apply_effect(const struct lemona_effect *e, uint32_t size);

/* waiting.c */
void waiting_go_on(void);
void waiting_own(struct object *o);
void waiting_forget(struct object *o);
void waiting_give_up(void);
void waiting_report(void);
void waiting_close(void);

/* names.c: does the name lead to the inode? */
bool object_has_name(struct object *o, int dirfd, const char *name);

/* attributes.c */
void object_take_attr(struct object *o, const struct lemona_attr *a);

/* doubt.c */
void doubt_note(const struct control_lost *l);
bool doubt_explains(struct object *o, const struct lemona_effect *e, const char *what);
void doubt_shift(struct object *o);
void doubt_settle(struct object *o, const struct lemona_attr *a);
void doubt_inherited(struct object *o, const struct object *dir);
bool doubt_make_way(int dirfd, const char *name);
void doubt_moved_above(struct object *moved, struct object *to);
void doubt_adrift(const struct lemona_effect *e, struct object *o);
void doubt_attributes_only(const struct lemona_effect *e);
void doubt_report(void);

/* xattr.c */
int xattr_apply(struct object *o, const struct lemona_xattr *x, const char **what);
void xattr_check(struct object *o, const struct lemona_xattr *x);
void caps_keep(struct object *o, int fd, struct caps *c);
int caps_give_back(int fd, const struct caps *c);
int acl_forget(struct object *o);
int chown_keeping_caps(int fd, uid_t uid, gid_t gid);
bool has_acl(int fd);

/* final.c */
bool object_check(struct object *o, const char *when);
void final_pass(void);
int fs_freeze(void);
int fs_thaw(void);

/* orphan.c */
int orphans_read(const char *device, const char **why);

/* folders.c */
void folders_open(void);

/* report.c */
uint64_t now_ns(void);
const char *op_name(unsigned int op);
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));
void json_string(char *to, size_t room, const char *text, size_t len);
void fatal(const char *format, ...)
	__attribute__((format(printf, 1, 2), noreturn));
void report_ready(void);
void report_progress(void);
void report_stopped(uint64_t id);
void report_taint(const struct lemona_taint *t);
void report_result(const char *outcome);
const struct lemona_effect *mismatch_context(const struct lemona_effect *e);
void mismatch(struct object *o, const char *what, const char *wanted,
	      const char *seen, int error);
void mismatch_number(struct object *o, const char *what, uint64_t wanted,
		     uint64_t seen);
/* What should have succeeded did not: errno says why. */
void failed(struct object *o, const char *what);

/* main.c */
void leave(int status) __attribute__((noreturn));

#endif /* LEMONA_REPLAY_H */
