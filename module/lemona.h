/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * Lemona's driver, inside. One concern a file:
 *
 *   main.c      parameters, start and stop, the table of operations
 *   buffer.c    streams: reserving, numbering; stream.h, the quick way
 *   pool.c      sub-buffers: the pool, the sinks, flow control
 *   relay.c     the sink that a process reads
 *   server.c    the sinks that are logging servers
 *   part.c      what those get that are to have one category
 *   link.c      a connection to one
 *   noise.c     its cryptography
 *   selftest.c  tests of that
 *   share.c     lossy mode: who may record
 *   lost.c      what lost effects were about
 *   device.c    /dev/lemona: the reader and the controls
 *   effects.c   the effect plane: names, attributes, contents
 *   taint.c     what effects do not tell
 *   mapped.c    stores through shared mappings
 *   page.c      what is recorded of a page that was stored to
 *   call.c      the forensic plane: system calls, and what is captured of them
 *   forensic.c  the rest of it: switches, process life, requests of io_uring
 *   capture.c   how user memory is copied
 */
#ifndef LEMONA_H
#define LEMONA_H

#include <linux/fs.h>
#include <linux/jump_label.h>
#include <linux/lemona.h>
#include <linux/magic.h>
#include <linux/mm_types.h>
#include <linux/sched.h>

#include "lemona_abi.h"

/* main.c: module parameters */
extern bool lemona_lossy;
extern unsigned int lemona_pool_mb;
extern unsigned int lemona_early_mb;
extern unsigned int lemona_subbuf_kb;
extern unsigned int lemona_snap;
extern unsigned int lemona_flush_ms;
extern bool lemona_relay;
extern char *lemona_server_list;
extern unsigned int lemona_copies;
extern char *lemona_machine;
extern bool lemona_encrypted;
extern unsigned int lemona_priority;
extern unsigned int lemona_mark;

int lemona_start(void);
bool lemona_has_started(void);

/* buffer.c */

/**
 * struct lemona_slot - a record being written
 * @flags: saved interrupt state
 * @stream: the CPU's stream, locked
 * @seq: the effect's sequence number, also of one that was lost; else 0
 * @size: bytes
 *
 * Between lemona_begin() and lemona_end() interrupts are off.
 */
struct lemona_slot {
	unsigned long flags;
	struct lemona_stream *stream;
	u64 seq;
	u32 size;
};

extern u64 lemona_boot_id;

int lemona_buffers_init(void);
void lemona_buffers_exit(void);
void *lemona_begin(struct lemona_slot *slot, enum lemona_kind kind, u16 code,
		   size_t size);
void lemona_end(struct lemona_slot *slot);

/*
 * memcpy() into a record, whose words are aligned. Where processors are not known
 * to copy bytes fast memcpy() is a loop; words they all copy fast, as the
 * kernel copies pages.
 */
static __always_inline void lemona_copy(void *to, const void *from, size_t len)
{
	size_t words = len / sizeof(u64);

	if (len < 128) {
		memcpy(to, from, len);
		return;
	}
	asm volatile("rep movsq"
		     : "+D" (to), "+S" (from), "+c" (words) : : "memory");
	if (len % sizeof(u64))
		memcpy(to, from, len % sizeof(u64));
}

bool lemona_push(bool spare);
int lemona_drain(void);
void lemona_get_stats(struct lemona_stats *stats);

/* pool.c; more in pool.h */

/* What the pool wants of whoever writes: nearly always nothing */
#define LEMONA_WANTS_MEMORY	BIT(0)
#define LEMONA_WANTS_TIME	BIT(1)
extern unsigned int lemona_pool_wants;

void lemona_pool_grow(void);
void lemona_pool_throttle(void);
int lemona_ticker_start(void);
void lemona_ticker_stop(void);

/**
 * lemona_prepare - make sure that the next records find room
 *
 * May sleep for memory, never for a sink, so it may be called under inode,
 * folio and journal locks. In lossy mode the pool does not grow.
 */
static __always_inline void lemona_prepare(void)
{
	if (unlikely(READ_ONCE(lemona_pool_wants) & LEMONA_WANTS_MEMORY))
		lemona_pool_grow();
}

/**
 * lemona_wait_for_space - wait for the sinks if too much is queued
 *
 * Only where no lock is held that a sink might need. Kernel threads and exempt
 * tasks (the relay's reader is one) do not wait.
 */
static __always_inline void lemona_wait_for_space(void)
{
	if (unlikely(READ_ONCE(lemona_pool_wants) & LEMONA_WANTS_TIME))
		lemona_pool_throttle();
}

/* relay.c */
struct lemona_sub;

int lemona_relay_init(void);
void lemona_relay_exit(void);
void lemona_relay_attach(bool attached);
bool lemona_relay_readable(void);
int lemona_relay_next(struct lemona_sub **sub, bool nonblock);
void lemona_relay_delivered(struct lemona_sub *sub);
int lemona_when_idle(void (*fn)(void *arg), void *arg);
extern struct wait_queue_head lemona_readq;

/* server.c */
struct lemona_key;

int lemona_servers_init(void);
int lemona_servers_start(void);
void lemona_servers_end(void);
int lemona_servers_wait(void);
void lemona_servers_stop(void);
void lemona_servers_exit(void);
int lemona_set_key(const struct lemona_key *key);

/* part.c; more in part.h */

/* Records are to be told apart by category */
DECLARE_STATIC_KEY_FALSE(lemona_by_category);

/* selftest.c */
int lemona_selftest(void);

/* share.c */
void lemona_charge(struct task_struct *task, pid_t tgid);
bool lemona_has_share(size_t size, u64 free, u64 reserve, u64 most, u32 turn,
		      bool effect);

/* lost.c */

/* Notes on lost effects in lossy mode, where a flood may be about many inodes */
#define LEMONA_NOTES	32768

int lemona_lost_init(void);
void lemona_lost_exit(void);
void lemona_lost(const struct lemona_slot *slot, struct inode *inode, u32 what,
		 u64 pos, u64 len, u32 effects);
bool lemona_lost_pending(void);
bool lemona_lost_take(struct lemona_lost *rec);

/* device.c */
int lemona_device_init(void);
void lemona_device_exit(void);

/* effects.c */
static inline bool lemona_traced(const struct inode *inode)
{
	return inode->i_sb->s_magic == EXT4_SUPER_MAGIC;
}

void *lemona_effect(struct lemona_slot *slot, enum lemona_op op,
		    struct inode *inode, size_t size);
void lemona_effect_start(void);
void lemona_effects_exit(void);
u64 lemona_effect_mark(const char *label, u32 len);
void lemona_effect_mounts(void);
void lemona_on_write(struct inode *inode, struct folio *folio, loff_t pos,
		     size_t bytes, size_t copied);
void lemona_on_write_failed(struct inode *inode, loff_t pos);
void lemona_on_fallocate(struct inode *inode, int mode, loff_t offset,
			 loff_t len, long ret);
void lemona_on_dentry(enum lemona_ns op, struct inode *dir,
		      struct inode *child, struct dentry *dentry,
		      const char *target);
void lemona_on_rename(struct inode *old_dir, struct dentry *old,
		      struct inode *new_dir, struct dentry *new,
		      unsigned int flags);
void lemona_on_whiteout(struct inode *whiteout);
void lemona_on_evict(struct inode *inode);
void lemona_on_setattr(struct inode *inode, unsigned int valid);
void lemona_on_half_done(struct inode *inode, unsigned int valid);
void lemona_on_xattr(struct inode *inode, int name_index, const char *name,
		     const void *value, size_t value_len);
void lemona_on_mount(struct super_block *sb, const char *source);
void lemona_on_remount(struct super_block *sb, bool force);
void lemona_on_umount(struct super_block *sb);

/* taint.c */
int lemona_taint_init(void);
void lemona_taint_exit(void);
void lemona_taint(struct inode *inode, u32 reason, const char *text);
void lemona_on_unrecorded(struct inode *inode, const char *what);
void lemona_on_write_error(struct inode *inode);
void lemona_on_raw_write(struct inode *bd_inode, loff_t pos, size_t bytes);
void lemona_on_fs_error(dev_t dev, u64 ino, const char *func);
void lemona_on_registers(const char *device);

/* mapped.c */

/* A task, by its numbers: it may be gone when it matters */
struct lemona_who {
	pid_t tid;
	pid_t tgid;
};

static inline struct lemona_who lemona_self(void)
{
	return (struct lemona_who){ .tid = current->pid, .tgid = current->tgid };
}

/* In mm->flags, beside MMF_*: may have pending pages */
#define MMF_LEMONA	40

/* In mapping->flags, beside enum mapping_flags */
#define AS_LEMONA_STRAY	14	/* had stray bytes */
#define AS_LEMONA	15	/* was ever stored to by a mapping */

int lemona_mapped_init(void);
void lemona_mapped_exit(void);
void lemona_capture_mm(struct mm_struct *mm);
void lemona_content_changes(struct inode *inode);
void lemona_write_to_strays(struct inode *inode, loff_t pos);
u64 lemona_capture_frozen(struct super_block *sb, struct list_head *held,
			  const char *label, u32 len);
void lemona_capture_umount(struct super_block *sb);
void lemona_put_captured(struct list_head *held);
void lemona_on_page_stored(struct page *page);
void lemona_on_pages_stored(struct page **pages, int nr);
void lemona_on_resample(struct address_space *mapping, loff_t pos);
void lemona_on_mkwrite(struct vm_fault *vmf, struct folio *folio);
void lemona_on_isize_extended(struct inode *inode, loff_t from, loff_t to);
void lemona_on_zeroed(struct inode *inode, loff_t from);
void lemona_on_flush_inode(struct inode *inode);

/* Capture what the current task's mm stored to */
static __always_inline void lemona_capture_current(void)
{
	struct mm_struct *mm = current->mm;

	if (mm && unlikely(test_bit(MMF_LEMONA, &mm->flags)))
		lemona_capture_mm(mm);
}

/* page.c */

/**
 * struct lemona_page - a page that was stored to
 * @inode: its file
 * @index: of the page in its file
 * @who: stored first
 */
struct lemona_page {
	struct inode *inode;
	pgoff_t index;
	struct lemona_who who;
};

void lemona_page_put(const struct lemona_page *p, struct folio *folio,
		     const void *shadow);
void lemona_page_put_disk(const struct lemona_page *p);

/* call.c; more in capture.h */
void lemona_on_syscall_enter(struct pt_regs *regs, long nr, bool denied);
void lemona_on_syscall_exit(struct pt_regs *regs);

/* forensic.c */
void lemona_forensic_start(void);
int lemona_account(void);
void lemona_fault(struct inode *inode, u64 index, u64 address);
void lemona_on_user_preempt(void);
void lemona_on_settle(void);
void lemona_on_throttle(void);
void lemona_on_fork(struct task_struct *child);
void lemona_on_exec(struct linux_binprm *bprm);
void lemona_on_exit(long code);
void lemona_on_cred(const struct cred *new);
void lemona_on_uring_submit(struct io_kiocb *req,
			    const struct io_uring_sqe *sqe);
void lemona_on_uring_issue(struct io_kiocb *req);
void lemona_on_uring_complete(struct io_kiocb *req, int res);
void lemona_on_sched_switch(struct task_struct *prev, struct task_struct *next,
			    unsigned int prev_state);

#endif /* LEMONA_H */
