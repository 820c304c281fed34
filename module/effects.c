// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The effect plane: what really happened to each inode.
 *
 * An effect is recorded under the lock that orders it. Attributes are sampled
 * after the sequence number is drawn. Whoever changes an attribute draws a
 * number afterwards, so the sample with the highest number has seen all changes
 * whose numbers were drawn: no lock is needed for times that change without
 * one.
 */
#include <linux/dcache.h>
#include <linux/falloc.h>
#include <linux/highmem.h>
#include <linux/kdev_t.h>
#include <linux/module.h>
#include <linux/pagemap.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/utsname.h>

#include "lemona.h"

static_assert((int)LEMONA_NS_CREATE == LEMONA_OP_CREATE);
static_assert((int)LEMONA_NS_RMDIR == LEMONA_OP_RMDIR);
static_assert(ATTR_MODE == LEMONA_VALID_MODE && ATTR_UID == LEMONA_VALID_UID);
static_assert(ATTR_GID == LEMONA_VALID_GID && ATTR_SIZE == LEMONA_VALID_SIZE);
static_assert(ATTR_ATIME == LEMONA_VALID_ATIME);
static_assert(ATTR_MTIME == LEMONA_VALID_MTIME);
static_assert(ATTR_CTIME == LEMONA_VALID_CTIME);

/* What every change of an inode changes */
#define LOST_META	(LEMONA_LOST_ATTR | LEMONA_LOST_TIMES)

#define VALID_MASK (LEMONA_VALID_MODE | LEMONA_VALID_UID | LEMONA_VALID_GID | \
		    LEMONA_VALID_SIZE | LEMONA_VALID_ATIME | \
		    LEMONA_VALID_MTIME | LEMONA_VALID_CTIME)

/**
 * lemona_effect - begin an effect
 * @slot: for lemona_end()
 * @op: opcode
 * @inode: the object, or NULL
 * @size: bytes of the record
 *
 * Return: the record with its common part filled in, or NULL if it was lost.
 */
void *lemona_effect(struct lemona_slot *slot, enum lemona_op op,
		    struct inode *inode, size_t size)
{
	struct lemona_effect *e;

	lemona_prepare();
	e = lemona_begin(slot, LEMONA_KIND_EFFECT, op, size);
	if (!e)
		return NULL;
	e->ino = inode ? inode->i_ino : 0;
	e->gen = inode ? inode->i_generation : 0;
	e->dev = inode ? new_encode_dev(inode->i_sb->s_dev) : 0;
	return e;
}

static void put_time(struct lemona_attr *a, int i, struct timespec64 ts)
{
	a->sec[i] = ts.tv_sec;
	a->nsec[i] = ts.tv_nsec;
}

/* Sample an inode's attributes; the sequence number has been drawn. */
static void sample(struct lemona_attr *a, struct inode *inode)
{
	struct timespec64 birth;

	a->ino = inode->i_ino;
	a->gen = inode->i_generation;
	a->mode = inode->i_mode;
	a->uid = __kuid_val(inode->i_uid);
	a->gid = __kgid_val(inode->i_gid);
	a->nlink = inode->i_nlink;
	a->rdev = new_encode_dev(inode->i_rdev);
	a->size = i_size_read(inode);
	lemona_ext4_sample(inode, &a->flags, &a->projid, &birth);
	put_time(a, 0, inode_get_atime(inode));
	put_time(a, 1, inode_get_mtime(inode));
	put_time(a, 2, inode_get_ctime(inode));
	put_time(a, 3, birth);
}

void lemona_on_write(struct inode *inode, struct folio *folio, loff_t pos,
		     size_t bytes, size_t copied)
{
	struct lemona_slot slot;
	struct lemona_write *w;
	void *data;

	if (!lemona_traced(inode))
		return;
	lemona_write_to_strays(inode, pos);
	/* as ->write_end() will judge it */
	if (copied < bytes && !folio_test_uptodate(folio))
		copied = 0;
	if (!copied)
		return;
	lemona_content_changes(inode);
	w = lemona_effect(&slot, LEMONA_OP_WRITE, inode, sizeof(*w) + copied);
	if (!w) {
		lemona_lost(&slot, inode, LEMONA_LOST_CONTENT, pos, copied, 1);
		return;
	}
	w->pos = pos;
	w->len = copied;
	w->flags = 0;
	data = kmap_local_folio(folio, offset_in_folio(folio, pos));
	lemona_copy(w->data, data, copied);
	kunmap_local(data);
	lemona_end(&slot);
}

void lemona_on_write_failed(struct inode *inode, loff_t pos)
{
	if (lemona_traced(inode))
		lemona_write_to_strays(inode, pos);
}

void lemona_on_fallocate(struct inode *inode, int mode, loff_t offset,
			 loff_t len, long ret)
{
	struct lemona_slot slot;
	struct lemona_fallocate *f;

	if (ret) {
		/* part of it may have been done */
		if (!(mode & FALLOC_FL_MODE_MASK))
			lemona_on_setattr(inode, ATTR_SIZE);
		else if (ret != -EINVAL && ret != -EOPNOTSUPP && ret != -EFBIG)
			lemona_taint(inode, LEMONA_TAINT_WRITE_ERROR,
				     "fallocate failed half-way");
		return;
	}
	lemona_content_changes(inode);
	f = lemona_effect(&slot, LEMONA_OP_FALLOCATE, inode, sizeof(*f));
	if (!f) {
		bool shifts = mode & (FALLOC_FL_COLLAPSE_RANGE |
				      FALLOC_FL_INSERT_RANGE);

		lemona_lost(&slot, inode, LOST_META | LEMONA_LOST_CONTENT,
			    offset, shifts ? U64_MAX : len, 1);
		return;
	}
	f->mode = mode;
	f->pad = 0;
	f->offset = offset;
	f->len = len;
	sample(&f->attr, inode);
	lemona_end(&slot);
}

void lemona_on_dentry(enum lemona_ns op, struct inode *dir,
		      struct inode *child, struct dentry *dentry,
		      const char *target)
{
	size_t name_len = op == LEMONA_NS_TMPFILE ? 0 : dentry->d_name.len;
	size_t extra_len = target ? strlen(target) : 0;
	struct lemona_slot slot;
	struct lemona_dentry *d;

	if (!lemona_traced(dir))
		return;
	d = lemona_effect(&slot, (enum lemona_op)op, child,
			  sizeof(*d) + name_len + extra_len);
	if (!d) {
		if (op <= LEMONA_NS_TMPFILE)
			lemona_lost(&slot, child, LEMONA_LOST_ALL, 0, U64_MAX,
				    1);
		else
			lemona_lost(&slot, child, LOST_META | LEMONA_LOST_PLACE,
				    0, 0, 1);
		if (op != LEMONA_NS_TMPFILE)
			lemona_lost(&slot, dir, LOST_META | LEMONA_LOST_ENTRIES,
				    0, 0, 0);
		return;
	}
	sample(&d->child, child);
	sample(&d->dir, dir);
	d->name_len = name_len;
	d->extra_len = extra_len;
	d->pad = 0;
	memcpy(d->name, dentry->d_name.name, name_len);
	memcpy(d->name + name_len, target, extra_len);
	lemona_end(&slot);
}

/* A whiteout between its making and the report of the rename that left it */
struct whiteout {
	struct list_head list;
	struct task_struct *task;
	struct inode *inode;	/* referenced */
};

static LIST_HEAD(whiteouts);
static DEFINE_SPINLOCK(whiteouts_lock);

static struct inode *take_whiteout(struct task_struct *task)
{
	struct inode *inode = NULL;
	struct whiteout *w;

	spin_lock(&whiteouts_lock);
	list_for_each_entry(w, &whiteouts, list) {
		if (!task || w->task == task) {
			inode = w->inode;
			list_del(&w->list);
			kfree(w);
			break;
		}
	}
	spin_unlock(&whiteouts_lock);
	return inode;
}

void lemona_on_whiteout(struct inode *inode)
{
	struct whiteout *w;

	if (!inode)
		return;
	w = kmalloc(sizeof(*w), GFP_NOFS | __GFP_NOFAIL);
	w->task = current;
	w->inode = inode;
	ihold(inode);
	spin_lock(&whiteouts_lock);
	list_add(&w->list, &whiteouts);
	spin_unlock(&whiteouts_lock);
}

/* To a reader of the record the whiteout is born in the place left empty. */
static void left_whiteout(struct inode *dir, struct dentry *dentry)
{
	struct inode *inode = take_whiteout(current);

	if (!inode) {
		lemona_taint(dir, LEMONA_TAINT_WHITEOUT,
			     "rename left a whiteout");
		return;
	}
	lemona_on_dentry(LEMONA_NS_MKNOD, dir, inode, dentry, NULL);
	iput(inode);
}

/** lemona_effects_exit - no operation runs any more */
void lemona_effects_exit(void)
{
	struct inode *inode;

	while ((inode = take_whiteout(NULL)))
		iput(inode);
}

void lemona_on_rename(struct inode *old_dir, struct dentry *old,
		      struct inode *new_dir, struct dentry *new,
		      unsigned int flags)
{
	size_t old_len = old->d_name.len;
	size_t new_len = new->d_name.len;
	struct inode *target = d_inode(new);
	struct lemona_slot slot;
	struct lemona_rename *r;

	if (!lemona_traced(old_dir))
		return;
	r = lemona_effect(&slot, LEMONA_OP_RENAME, d_inode(old),
			  sizeof(*r) + old_len + new_len);
	if (r) {
		r->flags = flags;
		r->old_len = old_len;
		r->new_len = new_len;
		sample(&r->source, d_inode(old));
		sample(&r->old_dir, old_dir);
		sample(&r->new_dir, new_dir);
		if (target)
			sample(&r->target, target);
		else
			memset(&r->target, 0, sizeof(r->target));
		memcpy(r->names, old->d_name.name, old_len);
		memcpy(r->names + old_len, new->d_name.name, new_len);
		lemona_end(&slot);
	} else {
		u32 moved = LOST_META | LEMONA_LOST_PLACE;
		u32 entries = LOST_META | LEMONA_LOST_ENTRIES;

		lemona_lost(&slot, d_inode(old), moved, 0, 0, 1);
		lemona_lost(&slot, old_dir, entries, 0, 0, 0);
		lemona_lost(&slot, new_dir, entries, 0, 0, 0);
		if (target)
			lemona_lost(&slot, target, moved, 0, 0, 0);
	}
	if (flags & RENAME_WHITEOUT)
		left_whiteout(old_dir, old);
}

void lemona_on_evict(struct inode *inode)
{
	struct lemona_slot slot;

	if (!lemona_traced(inode) || inode->i_nlink || is_bad_inode(inode))
		return;
	if (lemona_effect(&slot, LEMONA_OP_GONE, inode,
			  sizeof(struct lemona_effect)))
		lemona_end(&slot);
	else
		lemona_lost(&slot, inode, 0, 0, 0, 1);
}

void lemona_on_setattr(struct inode *inode, unsigned int valid)
{
	struct lemona_slot slot;
	struct lemona_setattr *s;

	if (!lemona_traced(inode))
		return;
	if (valid & ATTR_SIZE)
		lemona_content_changes(inode);
	s = lemona_effect(&slot, LEMONA_OP_SETATTR, inode, sizeof(*s));
	if (!s) {
		u32 what = valid ? LOST_META : LEMONA_LOST_TIMES;

		/* how much of the old content was cut off is not known here */
		if (valid & ATTR_SIZE)
			what |= LEMONA_LOST_CONTENT;
		lemona_lost(&slot, inode, what, 0, U64_MAX, 1);
		return;
	}
	s->valid = valid & VALID_MASK;
	if (valid & LEMONA_ATTR_FLAGS)
		s->valid |= LEMONA_VALID_FSFLAGS;
	s->pad = 0;
	sample(&s->attr, inode);
	lemona_end(&slot);
}

/* What is recorded shall be on the disk too. */
void lemona_on_half_done(struct inode *inode, unsigned int valid)
{
	if (!lemona_traced(inode))
		return;
	mark_inode_dirty_sync(inode);
	lemona_on_setattr(inode, valid);
}

void lemona_on_xattr(struct inode *inode, int name_index, const char *name,
		     const void *value, size_t value_len)
{
	size_t name_len = strlen(name);
	size_t len = value ? value_len : 0;
	struct lemona_slot slot;
	struct lemona_xattr *x;

	x = lemona_effect(&slot, LEMONA_OP_XATTR, inode,
			  sizeof(*x) + name_len + len);
	if (!x) {
		lemona_lost(&slot, inode, LOST_META | LEMONA_LOST_XATTR, 0, 0,
			    1);
		return;
	}
	x->name_index = name_index;
	x->name_len = name_len;
	x->value_len = value ? value_len : LEMONA_XATTR_REMOVED;
	sample(&x->attr, inode);
	memcpy(x->name, name, name_len);
	memcpy(x->name + name_len, value, len);
	lemona_end(&slot);
}

static void mount_effect(enum lemona_op op, struct super_block *sb,
			 const char *source)
{
	const char *type = sb->s_type->name;
	size_t type_len = strlen(type);
	size_t path_len = source ? strlen(source) : 0;
	struct lemona_slot slot;
	struct lemona_mount *m;

	if (!sb->s_root)
		return;
	m = lemona_effect(&slot, op, d_inode(sb->s_root),
			  sizeof(*m) + type_len + path_len);
	if (!m) {
		lemona_lost(&slot, d_inode(sb->s_root), 0, 0, 0, 1);
		return;
	}
	memcpy(m->uuid, &sb->s_uuid, sizeof(m->uuid));
	m->sb_flags = sb->s_flags;
	m->type_len = type_len;
	m->path_len = path_len;
	memcpy(m->names, type, type_len);
	memcpy(m->names + type_len, source, path_len);
	lemona_end(&slot);
}

static void taint_cuts(struct super_block *sb)
{
	const char *cuts;

	if (!sb->s_root || !lemona_traced(d_inode(sb->s_root)))
		return;
	cuts = lemona_ext4_cuts(sb);
	if (cuts)
		lemona_taint(d_inode(sb->s_root), LEMONA_TAINT_IOCTL, cuts);
}

void lemona_on_mount(struct super_block *sb, const char *source)
{
	mount_effect(LEMONA_OP_MOUNT, sb, source);
	taint_cuts(sb);
}

void lemona_on_remount(struct super_block *sb, bool force)
{
	/* who writes may go on, and nothing of it is written back */
	if (force && sb->s_root && lemona_traced(d_inode(sb->s_root)))
		lemona_taint(d_inode(sb->s_root), LEMONA_TAINT_IOCTL,
			     "it was made read-only by force");
	taint_cuts(sb);
}

void lemona_on_umount(struct super_block *sb)
{
	lemona_capture_umount(sb);
	mount_effect(LEMONA_OP_UMOUNT, sb, NULL);
}

static void mounted_before(struct super_block *sb, void *unused)
{
	lemona_on_mount(sb, sb->s_id);
}

/** lemona_effect_mounts - tell of the filesystems that are there already */
void lemona_effect_mounts(void)
{
	struct file_system_type *type = get_fs_type("ext4");

	if (!type)
		return;
	iterate_supers_type(type, mounted_before, NULL);
	module_put(type->owner);
}

static u64 text_effect(enum lemona_op op, const char *text, u32 len)
{
	struct lemona_slot slot;
	struct lemona_mark *m;
	u64 seq;

	/* START has the same layout */
	static_assert(sizeof(struct lemona_start) == sizeof(*m));
	m = lemona_effect(&slot, op, NULL, sizeof(*m) + len);
	if (!m) {
		lemona_lost(&slot, NULL, 0, 0, 0, 1);
		return 0;
	}
	seq = m->e.seq;
	m->label_len = len;
	m->flags = 0;
	memcpy(m->label, text, len);
	lemona_end(&slot);
	return seq;
}

/** lemona_effect_start - the first effect of all */
void lemona_effect_start(void)
{
	text_effect(LEMONA_OP_START, utsname()->release,
		    strlen(utsname()->release));
}

/**
 * lemona_effect_mark - name this instant
 * @label: not terminated
 * @len: its bytes
 *
 * Return: the MARK's sequence number.
 */
u64 lemona_effect_mark(const char *label, u32 len)
{
	return text_effect(LEMONA_OP_MARK, label, len);
}
