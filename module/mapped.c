// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Stores through shared mappings.
 *
 * Invariant: a page that any page table maps writable is pending. A page that
 * is not pending has, after a replay up to now, its true content.
 *
 * A page becomes pending under its folio's lock before it becomes writable
 * (mkwrite). It is captured when its writer enters a system call, is switched
 * out or exits, by a kernel thread every flush_ms for those who do none of
 * these, and before its range shifts, its filesystem freezes or goes away.
 * Capturing takes the page off the list, write-protects it everywhere, and
 * copies it under the folio's lock, so that the next store makes it pending
 * again. The list may hold a page twice; it is then captured twice.
 *
 * Each volume, which is a filesystem, has its own list and its own lock.
 * Captures hold that shared from taking a page off the list to the record; who
 * must know that a page is captured, not only taken, holds it exclusively. It
 * nests inside i_rwsem and invalidate_lock. A capture waits for pages, which may
 * wait for the disk, and that for another volume which is frozen, if it is a loop
 * device: so nobody holds the locks of two, nor waits for one with that of
 * another.
 *
 * Only the bytes that changed are recorded where that is safe. When a page
 * becomes pending by a fault its content is kept: a shadow. Bytes that are the
 * same at the capture were not stored to, or were stored to and put back; what
 * a replay has there is the shadow's content, unless something else than a
 * store changed the file meanwhile. So any other change of the inode's content
 * (lemona_content_changes()) makes the capture record the whole page, as does a
 * page that is pinned, or pending for another reason than a fault. If a page is
 * pending twice, its second shadow may hold stores of the first mapper: they
 * are captured with the first shadow, which is still to come.
 *
 * Stray bytes: a page has bytes behind the end of the file, too, and may be
 * stored to there; or Linux has filled it with others when it read it. If the
 * file then grows over them, their block may have no buffer that is mapped. The
 * kernel does not write such a one back, so they are not in the file, although
 * it reads so until the page goes. A later fault or write may map it, also one
 * that fails, and then they are. So what is recorded of such a block is what the
 * disk has; and from then on, whatever may map one of that inode makes the whole
 * page be captured.
 *
 * Inodes are put outside of the lock, since the last reference of an unlinked
 * inode may wait for a frozen filesystem. A volume counts what is between the
 * two, for umount.
 */
#include <linux/buffer_head.h>
#include <linux/gfp.h>
#include <linux/hash.h>
#include <linux/highmem.h>
#include <linux/jbd2.h>
#include <linux/jiffies.h>
#include <linux/kthread.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/pagemap.h>
#include <linux/pagevec.h>
#include <linux/rculist.h>
#include <linux/rmap.h>
#include <linux/rwsem.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "lemona.h"

/* In mapping->flags, beside enum mapping_flags */
#define AS_LEMONA_STRAY	14	/* had stray bytes */
#define AS_LEMONA	15	/* was ever stored to by a mapping */

/**
 * struct lemona_volume - a filesystem with pages that are stored to
 * @list: in the list of volumes
 * @sb: it, only compared; NULL: it is gone, and another may take its place
 * @pending: pages to be captured
 * @lock: shared by who captures
 * @unput: pages taken off the list whose inodes are not put yet
 */
struct lemona_volume {
	struct list_head list;
	struct super_block *sb;
	struct list_head pending;
	struct rw_semaphore lock;
	atomic_t unput;
};

/**
 * struct lemona_pending - a page to be captured
 * @list: in the volume's list of pending pages
 * @volume: its filesystem
 * @inode: its file, referenced
 * @mm: whose mapping was stored to; only compared
 * @index: of the page in its file
 * @since: in jiffies
 * @who: stored first
 * @shadow: the page's content when it became pending, or NULL
 * @changes: of the inode's content at that time
 */
struct lemona_pending {
	struct list_head list;
	struct lemona_volume *volume;
	struct inode *inode;
	struct mm_struct *mm;
	pgoff_t index;
	unsigned long since;
	struct lemona_who who;
	void *shadow;
	int changes;
};

#define SHADOWS_MAX	4096	/* pages */
#define CHANGES_BITS	10

static atomic_t nr_shadows;
/* Counts changes of content other than stores, of all inodes with this hash */
static atomic_t changes[BIT(CHANGES_BITS)];

/* Who stored last to an inode with this hash, to name who is behind a pin */
static struct {
	struct inode *inode;	/* only compared */
	u32 gen;
	struct lemona_who who;
} storers[BIT(CHANGES_BITS)];

static LIST_HEAD(volumes);	/* only grows */
/* protects storers, the volumes' lists, and who gets which volume */
static DEFINE_SPINLOCK(pending_lock);
static struct kmem_cache *pending_cache;
static DECLARE_WAIT_QUEUE_HEAD(unputq);
static struct task_struct *flusher;

static atomic_t *changes_of(struct inode *inode)
{
	return &changes[hash_ptr(inode, CHANGES_BITS)];
}

/**
 * lemona_content_changes - an inode's content changes by other means than stores
 * @inode: which; called before the change is recorded
 */
void lemona_content_changes(struct inode *inode)
{
	atomic_inc(changes_of(inode));
}

/* Add a volume, or give one that is free to @sb; @made is used or freed. */
static void volume_add(struct lemona_volume *made, struct super_block *sb)
{
	struct lemona_volume *v, *free = NULL;

	spin_lock(&pending_lock);
	list_for_each_entry(v, &volumes, list) {
		/* somebody else was faster */
		if (v->sb == sb)
			goto out;
		free = v->sb ? free : v;
	}
	if (free) {
		WRITE_ONCE(free->sb, sb);
	} else {
		made->sb = sb;
		list_add_rcu(&made->list, &volumes);
		made = NULL;
	}
out:
	spin_unlock(&pending_lock);
	kfree(made);
}

/*
 * The volume of a filesystem that is mounted. There are as many as there ever
 * were at once, until the driver goes.
 */
static struct lemona_volume *volume_of(struct super_block *sb)
{
	struct lemona_volume *v;

	for (;;) {
		list_for_each_entry_lockless(v, &volumes, list) {
			if (READ_ONCE(v->sb) == sb)
				return v;
		}
		v = kzalloc(sizeof(*v), GFP_NOFS | __GFP_NOFAIL);
		INIT_LIST_HEAD(&v->pending);
		init_rwsem(&v->lock);
		volume_add(v, sb);
	}
}

/* Keep a page's content; its folio is locked. */
static void *shadow_make(struct folio *folio, pgoff_t index)
{
	void *shadow;

	if (atomic_read(&nr_shadows) >= SHADOWS_MAX)
		return NULL;
	shadow = (void *)__get_free_page(GFP_NOFS | __GFP_NOWARN |
					 __GFP_NORETRY);
	if (!shadow)
		return NULL;
	atomic_inc(&nr_shadows);
	memcpy_from_folio(shadow, folio,
			  offset_in_folio(folio, (loff_t)index << PAGE_SHIFT),
			  PAGE_SIZE);
	return shadow;
}

static void pending_free(struct lemona_pending *p)
{
	if (p->shadow) {
		free_page((unsigned long)p->shadow);
		atomic_dec(&nr_shadows);
	}
	kmem_cache_free(pending_cache, p);
}

/* @folio: locked, to keep a shadow of the page; or NULL */
static void pend(struct inode *inode, pgoff_t index, struct mm_struct *mm,
		 struct lemona_who who, struct folio *folio)
{
	struct lemona_pending *p;
	u32 slot;

	if (!igrab(inode))
		return;
	p = kmem_cache_alloc(pending_cache, GFP_NOFS | __GFP_NOFAIL);
	p->volume = volume_of(inode->i_sb);
	p->changes = atomic_read(changes_of(inode));
	p->shadow = folio ? shadow_make(folio, index) : NULL;
	p->inode = inode;
	p->mm = mm;
	p->index = index;
	p->since = jiffies;
	p->who = who;
	spin_lock(&pending_lock);
	list_add_tail(&p->list, &p->volume->pending);
	slot = hash_ptr(inode, CHANGES_BITS);
	storers[slot].inode = inode;
	storers[slot].gen = inode->i_generation;
	storers[slot].who = who;
	spin_unlock(&pending_lock);
	if (mm && !test_bit(MMF_LEMONA, &mm->flags))
		set_bit(MMF_LEMONA, &mm->flags);
}

/* Who stored last to an inode; the current task if that is not known. */
static struct lemona_who storer_of(struct inode *inode)
{
	u32 slot = hash_ptr(inode, CHANGES_BITS);
	struct lemona_who who = lemona_self();

	spin_lock(&pending_lock);
	if (storers[slot].inode == inode &&
	    storers[slot].gen == inode->i_generation)
		who = storers[slot].who;
	spin_unlock(&pending_lock);
	return who;
}

/* Which pending pages to capture: all members that are set must match */
struct lemona_which {
	struct mm_struct *mm;
	struct inode *inode;
	unsigned long older_than;	/* ms */
	bool frozen;	/* record what is on the disk */
	bool once;	/* the last chance: nothing may become pending again */
};

/*
 * Read a page in that was reclaimed. Whoever captures one inode's pages holds
 * its invalidate_lock; others must not wait for it inside of the volume's lock.
 */
static struct folio *read_back(struct lemona_pending *p,
			       const struct lemona_which *which)
{
	struct address_space *mapping = p->inode->i_mapping;
	struct folio *folio;

	if (!which->inode && !filemap_invalidate_trylock_shared(mapping))
		return ERR_PTR(-EAGAIN);
	folio = read_mapping_folio(mapping, p->index, NULL);
	if (!which->inode)
		filemap_invalidate_unlock_shared(mapping);
	return folio;
}

/* Lock the page's folio. Return: it, NULL if there is no content, or an error */
static struct folio *pending_folio(struct lemona_pending *p,
				   const struct lemona_which *which)
{
	struct folio *folio;

	for (;;) {
		folio = filemap_lock_folio(p->inode->i_mapping, p->index);
		if (!IS_ERR(folio) && folio_test_uptodate(folio))
			return folio;
		if (!IS_ERR(folio)) {
			folio_unlock(folio);
			folio_put(folio);
		}
		if ((loff_t)p->index << PAGE_SHIFT >= i_size_read(p->inode))
			return NULL;
		folio = read_back(p, which);
		if (IS_ERR(folio))
			return folio;
		folio_put(folio);
	}
}

/* Record @len bytes at @offset of a pending page, whose content is @data. */
static void put_page_bytes(struct lemona_pending *p, const void *data,
			   size_t offset, size_t len)
{
	loff_t pos = ((loff_t)p->index << PAGE_SHIFT) + offset;
	struct lemona_slot slot;
	struct lemona_write *w;

	lemona_charge(flusher, p->who.tgid);
	w = lemona_effect(&slot, LEMONA_OP_PAGE, p->inode, sizeof(*w) + len);
	if (!w) {
		lemona_lost(&slot, p->inode, LEMONA_LOST_CONTENT, pos, len, 1);
		return;
	}
	w->e.h.tid = p->who.tid;
	w->pos = pos;
	w->len = len;
	w->flags = 0;
	lemona_copy(w->data, data + offset, len);
	lemona_end(&slot);
}

/* Unchanged bytes between two changed ones that are cheaper than a record */
#define JOIN_BYTES	64

/* Compare words of two pages from @i on: most are the same. Return: first other */
static size_t same_until(const u64 *a, const u64 *b, size_t i, size_t words)
{
	for (; i + 16 <= words; i += 16) {
		const u64 *x = a + i, *y = b + i;

		if ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) |
		    (x[3] ^ y[3]) | (x[4] ^ y[4]) | (x[5] ^ y[5]) |
		    (x[6] ^ y[6]) | (x[7] ^ y[7]) | (x[8] ^ y[8]) |
		    (x[9] ^ y[9]) | (x[10] ^ y[10]) | (x[11] ^ y[11]) |
		    (x[12] ^ y[12]) | (x[13] ^ y[13]) | (x[14] ^ y[14]) |
		    (x[15] ^ y[15]))
			break;
	}
	while (i < words && a[i] == b[i])
		i++;
	return i;
}

/* Record the words of a page that differ from its shadow. */
static void put_changed_bytes(struct lemona_pending *p, const void *data,
			      size_t len)
{
	size_t words = DIV_ROUND_UP(len, sizeof(u64));
	const u64 *now = data, *then = p->shadow;
	size_t first = 0, end = 0, i = 0, at;

	while ((i = same_until(now, then, i, words)) < words) {
		at = i++ * sizeof(u64);
		if (end && at - end > JOIN_BYTES) {
			put_page_bytes(p, data, first, end - first);
			end = 0;
		}
		if (!end)
			first = at;
		end = min(at + sizeof(u64), len);
	}
	if (end)
		put_page_bytes(p, data, first, end - first);
}

/* Record what the frozen disk holds of a page. */
static void put_disk_page(struct lemona_pending *p)
{
	loff_t pos = (loff_t)p->index << PAGE_SHIFT;
	loff_t size = i_size_read(p->inode);
	struct page *page;
	void *data;

	if (pos >= size)
		return;
	page = alloc_page(GFP_NOFS | __GFP_NOFAIL);
	if (lemona_ext4_read_disk(p->inode, pos, page, 0, PAGE_SIZE)) {
		lemona_taint(p->inode, LEMONA_TAINT_WRITE_ERROR,
			     "a mapped page could not be read from the disk");
	} else {
		data = kmap_local_page(page);
		put_page_bytes(p, data, 0,
			       min_t(loff_t, PAGE_SIZE, size - pos));
		kunmap_local(data);
	}
	__free_page(page);
}

/*
 * Which bytes of a page are in the file, if there are stray ones among them.
 * @data, @len: what the cache has of the page at @pos, whose folio is locked.
 * Return: a page to be freed; NULL if all are in the file
 */
static struct page *without_strays(struct inode *inode, struct folio *folio,
				   loff_t pos, const void *data, size_t len)
{
	struct buffer_head *head = folio_buffers(folio), *bh = head;
	size_t size = i_blocksize(inode);
	loff_t at = folio_pos(folio);
	struct page *copy = NULL;
	int ret;

	do {
		size_t offset = at - pos;

		/* without a mapped buffer, nothing is on its way to a block */
		if (at >= pos && offset < len && !(bh && buffer_mapped(bh)) &&
		    memchr_inv(data + offset, 0, min(size, len - offset))) {
			if (!copy) {
				copy = alloc_page(GFP_NOFS | __GFP_NOFAIL);
				memcpy_to_page(copy, 0, data, len);
			}
			ret = lemona_ext4_read_disk(inode, at, copy, offset,
						    size);
			if (ret == -ENODATA)
				break;
			if (ret)
				lemona_taint(inode, LEMONA_TAINT_WRITE_ERROR,
					     "a mapped page could not be read from the disk");
		}
		at += size;
		bh = bh ? bh->b_this_page : NULL;
	} while (bh ? bh != head : at < pos + len);
	if (copy && !memcmp(page_address(copy), data, len)) {
		__free_page(copy);
		copy = NULL;
	}
	return copy;
}

/* Record what the file has of a pending page; its folio is locked. */
static void record_page(struct lemona_pending *p, struct folio *folio,
			bool pinned)
{
	loff_t pos = (loff_t)p->index << PAGE_SHIFT;
	loff_t size = i_size_read(p->inode);
	struct page *copy;
	void *data;
	size_t len;

	if (pos >= size)
		return;
	len = min_t(loff_t, PAGE_SIZE, size - pos);
	data = kmap_local_folio(folio, offset_in_folio(folio, pos));
	copy = without_strays(p->inode, folio, pos, data, len);
	if (copy) {
		set_bit(AS_LEMONA_STRAY, &p->inode->i_mapping->flags);
		put_page_bytes(p, page_address(copy), 0, len);
		__free_page(copy);
	} else if (p->shadow && !pinned &&
		   p->changes == atomic_read(changes_of(p->inode))) {
		put_changed_bytes(p, data, len);
	} else {
		put_page_bytes(p, data, 0, len);
	}
	kunmap_local(data);
}

static void capture(struct lemona_pending *p, const struct lemona_which *which)
{
	struct folio *folio = pending_folio(p, which);
	bool pinned;

	if (IS_ERR(folio)) {
		if (folio == ERR_PTR(-EAGAIN) && !which->once)
			pend(p->inode, p->index, p->mm, p->who, NULL);
		else
			lemona_taint(p->inode, LEMONA_TAINT_WRITE_ERROR,
				     "a mapped page could not be read back");
		return;
	}
	if (!folio)
		return;
	if (folio_mkclean(folio))
		folio_mark_dirty(folio);
	/* whoever pins it may store to it without a fault */
	pinned = folio_maybe_dma_pinned(folio);
	if (!which->once && pinned)
		pend(p->inode, p->index, p->mm, p->who, NULL);

	if (pinned && which->frozen)
		put_disk_page(p);
	else
		record_page(p, folio, pinned);
	folio_unlock(folio);
	folio_put(folio);
}

static bool matches(const struct lemona_pending *p,
		    const struct lemona_which *which)
{
	return (!which->mm || which->mm == p->mm) &&
	       (!which->inode || which->inode == p->inode) &&
	       (!which->older_than ||
		time_after_eq(jiffies, p->since +
			      msecs_to_jiffies(which->older_than)));
}

/* Take the matching pages off the list and capture them; the lock is held. */
static void capture_matching(struct lemona_volume *v,
			     const struct lemona_which *which,
			     struct list_head *done)
{
	struct lemona_pending *p, *next;
	LIST_HEAD(taken);

	spin_lock(&pending_lock);
	list_for_each_entry_safe(p, next, &v->pending, list) {
		if (matches(p, which)) {
			list_move_tail(&p->list, &taken);
			atomic_inc(&v->unput);
		}
	}
	spin_unlock(&pending_lock);

	list_for_each_entry(p, &taken, list)
		capture(p, which);
	list_splice(&taken, done);
}

/**
 * lemona_put_captured - let go of what was captured
 * @held: of lemona_capture_frozen()
 */
void lemona_put_captured(struct list_head *held)
{
	struct lemona_pending *p, *next;

	list_for_each_entry_safe(p, next, held, list) {
		struct lemona_volume *v = p->volume;

		list_del(&p->list);
		iput(p->inode);
		pending_free(p);
		if (atomic_dec_and_test(&v->unput))
			wake_up_all(&unputq);
	}
}

/* Capture the matching pages of all volumes. */
static void capture_shared(const struct lemona_which *which)
{
	struct lemona_volume *v;
	LIST_HEAD(done);

	list_for_each_entry_lockless(v, &volumes, list) {
		down_read(&v->lock);
		capture_matching(v, which, &done);
		up_read(&v->lock);
		lemona_put_captured(&done);
	}
}

static void capture_exclusive(struct lemona_volume *v,
			      const struct lemona_which *which)
{
	LIST_HEAD(done);

	down_write(&v->lock);
	capture_matching(v, which, &done);
	up_write(&v->lock);
	lemona_put_captured(&done);
}

/** lemona_capture_mm - capture what an mm stored to */
void lemona_capture_mm(struct mm_struct *mm)
{
	clear_bit(MMF_LEMONA, &mm->flags);
	capture_shared(&(struct lemona_which){ .mm = mm });
}

/* Record what the disk holds of a mapping's dirty pages; they stay pending. */
static void put_dirty_pages(struct inode *inode)
{
	struct lemona_pending p = {
		.inode = inode,
		.who = storer_of(inode),
	};
	struct folio_batch batch;
	pgoff_t next = 0;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios_tag(inode->i_mapping, &next, ULONG_MAX,
				      PAGECACHE_TAG_DIRTY, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			p.index = batch.folios[i]->index;
			put_disk_page(&p);
			pend(inode, p.index, NULL, p.who, NULL);
		}
		folio_batch_release(&batch);
	}
}

/*
 * A device that stores into a pinned page does not wait for the freeze: what it
 * stored after the page was written back is in the page cache, and not on the
 * disk. Faults do wait, so that no other page is dirty.
 */
static void put_unwritten_pages(struct super_block *sb)
{
	struct inode *inode, *last = NULL;

	spin_lock(&sb->s_inode_list_lock);
	list_for_each_entry(inode, &sb->s_inodes, i_sb_list) {
		if (!test_bit(AS_LEMONA, &inode->i_mapping->flags) ||
		    !mapping_tagged(inode->i_mapping, PAGECACHE_TAG_DIRTY) ||
		    !igrab(inode))
			continue;
		spin_unlock(&sb->s_inode_list_lock);
		put_dirty_pages(inode);
		/* not the last reference: its pages are pending */
		iput(last);
		last = inode;
		spin_lock(&sb->s_inode_list_lock);
	}
	spin_unlock(&sb->s_inode_list_lock);
	iput(last);
}

/**
 * lemona_capture_frozen - make the record say what a frozen disk says, and mark
 * @sb: the filesystem
 * @held: gets what lemona_put_captured() must let go of after the thaw
 * @label: of the mark
 * @len: its bytes
 *
 * Return: the MARK's sequence number.
 */
u64 lemona_capture_frozen(struct super_block *sb, struct list_head *held,
			  const char *label, u32 len)
{
	struct lemona_volume *v = volume_of(sb);
	u64 seq;

	down_write(&v->lock);
	capture_matching(v, &(struct lemona_which){ .frozen = true }, held);
	put_unwritten_pages(sb);
	seq = lemona_effect_mark(label, len);
	up_write(&v->lock);
	return seq;
}

/** lemona_capture_umount - capture all, and keep no reference to an inode */
void lemona_capture_umount(struct super_block *sb)
{
	struct lemona_volume *v = volume_of(sb);

	capture_exclusive(v, &(struct lemona_which){ .once = true });
	wait_event(unputq, !atomic_read(&v->unput));
	WRITE_ONCE(v->sb, NULL);
}

static void stored(struct address_space *mapping, loff_t pos)
{
	if (!lemona_traced(mapping->host))
		return;
	set_bit(AS_LEMONA, &mapping->flags);
	pend(mapping->host, pos >> PAGE_SHIFT, NULL, lemona_self(), NULL);
}

/* Let buffers that are as the disk has them be read again; the folio is locked. */
static void forget_clean_buffers(struct folio *folio)
{
	struct buffer_head *head = folio_buffers(folio), *bh = head;

	/* what is on its way to the disk must be there before it is read */
	folio_wait_writeback(folio);
	do {
		wait_on_buffer(bh);
		if (buffer_mapped(bh) && !buffer_dirty(bh) &&
		    !buffer_jbddirty(bh) && !buffer_delay(bh) &&
		    !buffer_unwritten(bh))
			clear_buffer_uptodate(bh);
		bh = bh->b_this_page;
	} while (bh != head);
}

/*
 * What was copied and then rejected may stay in the cache, in a page or a
 * buffer that is not dirty: it would be in the file until the page goes. If the
 * whole page is valid by now, somebody may have seen it: let it be there.
 */
void lemona_on_resample(struct address_space *mapping, loff_t pos)
{
	struct folio *folio;

	if (!lemona_traced(mapping->host))
		return;
	folio = filemap_lock_folio(mapping, pos >> PAGE_SHIFT);
	if (!IS_ERR(folio)) {
		if (folio_buffers(folio) && folio_test_uptodate(folio))
			folio_mark_dirty(folio);
		else if (folio_buffers(folio))
			forget_clean_buffers(folio);
		folio_unlock(folio);
		folio_put(folio);
	}
	stored(mapping, pos);
}

/* A tracer's or a device's store, through no pin: a capture may have come first */
void lemona_on_page_stored(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio_mapping(folio);

	if (mapping && !folio_test_anon(folio) && !folio_test_swapcache(folio))
		stored(mapping, page_offset(page));
}

void lemona_on_mkwrite(struct vm_fault *vmf, struct folio *folio)
{
	struct inode *inode = folio->mapping->host;

	if (!lemona_traced(inode)) {
		if (S_ISBLK(inode->i_mode))
			lemona_on_raw_write(inode, folio_pos(folio),
					    PAGE_SIZE);
		return;
	}
	set_bit(AS_LEMONA, &inode->i_mapping->flags);
	pend(inode, vmf->pgoff, vmf->vma->vm_mm, lemona_self(),
	     test_bit(AS_LEMONA_STRAY, &inode->i_mapping->flags) ? NULL : folio);
	lemona_fault(inode, vmf->pgoff, vmf->address);
}

/**
 * lemona_write_to_strays - a write may have got stray bytes a block
 * @inode: which
 * @pos: in the page that was written to
 */
void lemona_write_to_strays(struct inode *inode, loff_t pos)
{
	if (test_bit(AS_LEMONA_STRAY, &inode->i_mapping->flags))
		pend(inode, pos >> PAGE_SHIFT, NULL, lemona_self(), NULL);
}

/* Whether a page has something from @from on, where its file ended, to @to. */
static bool has_more(struct folio *folio, loff_t from, loff_t to)
{
	size_t first = from > folio_pos(folio) ? from - folio_pos(folio) : 0;
	size_t end = min_t(loff_t, PAGE_SIZE, to - folio_pos(folio));
	void *data;
	bool ret;

	if (!folio_test_uptodate(folio))
		return true;
	data = kmap_local_folio(folio, 0);
	ret = memchr_inv(data + first, 0, end - first);
	kunmap_local(data);
	return ret;
}

/*
 * A store behind the end of file was clipped when its page was captured; and
 * Linux may itself have filled pages there, with what was before them when it
 * read them and the file became shorter. When the file grows over them, its
 * content changes without a store.
 */
void lemona_on_isize_extended(struct inode *inode, loff_t from, loff_t to)
{
	struct address_space *mapping = inode->i_mapping;
	pgoff_t next = from >> PAGE_SHIFT;
	struct folio_batch batch;
	unsigned int i;

	if (from >= to || !lemona_traced(inode))
		return;
	/* it may be stored to at this moment */
	if ((from & ~PAGE_MASK) && test_bit(AS_LEMONA, &mapping->flags))
		pend(inode, next++, NULL, lemona_self(), NULL);
	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, (to - 1) >> PAGE_SHIFT,
				  &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			if (!has_more(folio, from, to))
				continue;
			set_bit(AS_LEMONA, &mapping->flags);
			pend(inode, folio->index, NULL, lemona_self(), NULL);
		}
		folio_batch_release(&batch);
	}
}

/*
 * The bytes behind the old end of a file that grows are zeroed a little later
 * than they come to light; a capture in between has recorded them.
 */
void lemona_on_zeroed(struct inode *inode, loff_t from)
{
	if (!lemona_traced(inode))
		return;
	lemona_content_changes(inode);
	if (test_bit(AS_LEMONA, &inode->i_mapping->flags))
		pend(inode, from >> PAGE_SHIFT, NULL, lemona_self(), NULL);
}

void lemona_on_flush_inode(struct inode *inode)
{
	struct address_space *mapping = inode->i_mapping;

	if (!lemona_traced(inode))
		return;
	/*
	 * A fault whose page_mkwrite() has returned holds its folio's lock, but
	 * no longer the invalidate_lock. The folio is dirty: writing it back
	 * waits until the page is pending.
	 */
	if (mapping_writably_mapped(mapping))
		filemap_write_and_wait(mapping);
	if (!test_bit(AS_LEMONA, &mapping->flags))
		return;
	capture_exclusive(volume_of(inode->i_sb),
			  &(struct lemona_which){ .inode = inode });
}

static bool anything_pending(void)
{
	struct lemona_volume *v;

	list_for_each_entry_lockless(v, &volumes, list) {
		if (!list_empty(&v->pending))
			return true;
	}
	return false;
}

static int flusher_fn(void *unused)
{
	while (!kthread_should_stop()) {
		unsigned int ms = max(lemona_flush_ms, 1U);

		schedule_timeout_interruptible(msecs_to_jiffies(ms));
		if (anything_pending())
			capture_shared(&(struct lemona_which){
						.older_than = ms });
		lemona_charge(flusher, current->tgid);
		lemona_tick();
	}
	return 0;
}

int lemona_mapped_init(void)
{
	pending_cache = KMEM_CACHE(lemona_pending, 0);
	if (!pending_cache)
		return -ENOMEM;
	flusher = kthread_run(flusher_fn, NULL, "lemona_flush");
	if (IS_ERR(flusher)) {
		kmem_cache_destroy(pending_cache);
		return PTR_ERR(flusher);
	}
	return 0;
}

/** lemona_mapped_exit - no operation runs any more */
void lemona_mapped_exit(void)
{
	struct lemona_volume *v, *next;

	kthread_stop(flusher);
	list_for_each_entry_safe(v, next, &volumes, list) {
		capture_exclusive(v, &(struct lemona_which){ .once = true });
		list_del(&v->list);
		kfree(v);
	}
	kmem_cache_destroy(pending_cache);
}
