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
 * again. The list may hold a page twice; it is then captured twice. Whoever
 * captures what his mm stored to also waits for what others have taken of it
 * and not recorded yet: his next effect comes after all that was stored before,
 * and so does that of whoever is told by him.
 *
 * Each volume, which is a filesystem, has its own list and its own lock.
 * Captures hold that shared from taking a page off the list to the record; who
 * must know that a file's pages are captured, and no more are taken meanwhile,
 * holds it exclusively. It
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
 * page that is pinned, pending for another reason than a fault, or pending
 * twice: who stores to it then may have seen what the first one stored, and what
 * he stored may have been captured and stored over.
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

/**
 * struct lemona_volume - a filesystem with pages that are stored to
 * @list: in the list of volumes
 * @sb: it, only compared; NULL: it is gone, and another may take its place
 * @pending: pages to be captured
 * @taken: pages off that list that are not recorded yet
 * @lock: shared by who captures
 * @unput: pages taken off the list whose inodes are not put yet
 */
struct lemona_volume {
	struct list_head list;
	struct super_block *sb;
	struct list_head pending;
	struct list_head taken;
	struct rw_semaphore lock;
	atomic_t unput;
};

/**
 * struct lemona_pending - a page to be captured
 * @list: in the volume's list of pending pages, or in one of who captures it
 * @taken: in the volume's list of pages being captured
 * @turn: how many pages had been taken when it was
 * @volume: its filesystem
 * @page: it; the inode is referenced
 * @mm: whose mapping was stored to; only compared
 * @since: in jiffies
 * @shadow: the page's content when it became pending, or NULL
 * @changes: of the inode's content at that time
 * @busy: it could not be captured, since its file's ranges are being shifted;
 *	or while it is pending, could not be when that was tried
 */
struct lemona_pending {
	struct list_head list;
	struct list_head taken;
	u64 turn;
	struct lemona_volume *volume;
	struct lemona_page page;
	struct mm_struct *mm;
	unsigned long since;
	void *shadow;
	int changes;
	bool busy;
};

#define SHADOWS_MAX	4096	/* pages */
#define PAGES_BITS	14
#define WAKE_PAGES	64	/* that are recorded before who waits is woken */
#define CHANGES_BITS	10

static atomic_t nr_shadows;
/* Pages with this hash that are pending, or taken and not recorded yet */
static atomic_t nr_unrecorded[BIT(PAGES_BITS)];
/* Counts changes of content other than stores, of all inodes with this hash */
static atomic_t changes[BIT(CHANGES_BITS)];

/* Who stored last to an inode with this hash, to name who is behind a pin */
static struct {
	struct inode *inode;	/* only compared */
	u32 gen;
	struct lemona_who who;
} storers[BIT(CHANGES_BITS)];

static LIST_HEAD(volumes);	/* only grows */
/* protects storers, turns, the volumes' lists, and who gets which volume */
static DEFINE_SPINLOCK(pending_lock);
static u64 turns;	/* pages that were ever taken */
static struct kmem_cache *pending_cache;
static DECLARE_WAIT_QUEUE_HEAD(recordedq);
static DECLARE_WAIT_QUEUE_HEAD(unputq);
static struct task_struct *flusher;

static atomic_t *unrecorded_of(const struct lemona_page *page)
{
	unsigned long key = (unsigned long)page->inode + page->index;

	return &nr_unrecorded[hash_long(key, PAGES_BITS)];
}

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
		INIT_LIST_HEAD(&v->taken);
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

/*
 * @mm: only compared, it may be gone
 * @folio: locked, to keep a shadow of the page; or NULL
 */
static void pend(const struct lemona_page *page, struct mm_struct *mm,
		 struct folio *folio, bool busy)
{
	struct inode *inode = page->inode;
	struct lemona_pending *p;
	u32 slot;

	if (!igrab(inode))
		return;
	p = kmem_cache_alloc(pending_cache, GFP_NOFS | __GFP_NOFAIL);
	*p = (struct lemona_pending){
		.volume = volume_of(inode->i_sb),
		.page = *page,
		.mm = mm,
		.since = jiffies,
		.changes = atomic_read(changes_of(inode)),
		.busy = busy,
	};
	if (folio && !atomic_read(unrecorded_of(page)))
		p->shadow = shadow_make(folio, page->index);
	atomic_inc(unrecorded_of(page));
	spin_lock(&pending_lock);
	list_add_tail(&p->list, &p->volume->pending);
	slot = hash_ptr(inode, CHANGES_BITS);
	storers[slot].inode = inode;
	storers[slot].gen = inode->i_generation;
	storers[slot].who = page->who;
	spin_unlock(&pending_lock);
}

/* The current task has changed a page, or is about to store to it through @mm. */
static void pend_own(struct inode *inode, pgoff_t index, struct mm_struct *mm,
		     struct folio *folio)
{
	struct lemona_page page = { inode, index, lemona_self() };

	pend(&page, mm, folio, false);
	/* behind that: it is cleared where nothing of the mm is in a list */
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
	struct address_space *mapping = p->page.inode->i_mapping;
	struct folio *folio;

	if (!which->inode && !filemap_invalidate_trylock_shared(mapping))
		return ERR_PTR(-EAGAIN);
	folio = read_mapping_folio(mapping, p->page.index, NULL);
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
		folio = filemap_lock_folio(p->page.inode->i_mapping, p->page.index);
		if (!IS_ERR(folio) && folio_test_uptodate(folio))
			return folio;
		if (!IS_ERR(folio)) {
			folio_unlock(folio);
			folio_put(folio);
		}
		if ((loff_t)p->page.index << PAGE_SHIFT >= i_size_read(p->page.inode))
			return NULL;
		folio = read_back(p, which);
		if (IS_ERR(folio))
			return folio;
		folio_put(folio);
	}
}

/*
 * What a page was before it was stored to, if nothing else has changed it: nor
 * has another entry for it, which others may have captured in between.
 */
static const void *shadow_of(const struct lemona_pending *p)
{
	return p->changes == atomic_read(changes_of(p->page.inode)) &&
	       atomic_read(unrecorded_of(&p->page)) == 1 ? p->shadow : NULL;
}

static void capture(struct lemona_pending *p, const struct lemona_which *which)
{
	struct folio *folio = pending_folio(p, which);
	bool pinned;

	lemona_charge(flusher, p->page.who.tgid);
	if (IS_ERR(folio)) {
		p->busy = folio == ERR_PTR(-EAGAIN) && !which->once;
		if (p->busy)
			pend(&p->page, p->mm, NULL, true);
		else
			lemona_taint(p->page.inode, LEMONA_TAINT_WRITE_ERROR,
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
		pend(&p->page, p->mm, NULL, false);

	if (pinned && which->frozen)
		lemona_page_put_disk(&p->page);
	else
		lemona_page_put(&p->page, folio, pinned ? NULL : shadow_of(p));
	folio_unlock(folio);
	folio_put(folio);
}

static bool matches(const struct lemona_pending *p,
		    const struct lemona_which *which)
{
	return (!which->mm || which->mm == p->mm) &&
	       (!which->inode || which->inode == p->page.inode) &&
	       (!which->older_than ||
		time_after_eq(jiffies, p->since +
			      msecs_to_jiffies(which->older_than)));
}

static bool anything_matches(struct lemona_volume *v,
			     const struct lemona_which *which)
{
	struct lemona_pending *p;
	bool ret = false;

	spin_lock(&pending_lock);
	list_for_each_entry(p, &v->pending, list) {
		ret = matches(p, which);
		if (ret)
			break;
	}
	spin_unlock(&pending_lock);
	return ret;
}

static void recorded(struct lemona_pending *p)
{
	spin_lock(&pending_lock);
	list_del(&p->taken);
	spin_unlock(&pending_lock);
	atomic_dec(unrecorded_of(&p->page));
}

static void wake_waiting(void)
{
	if (wq_has_sleeper(&recordedq))
		wake_up_all(&recordedq);
}

/* Take the matching pages off the list and capture them; the lock is held. */
static void capture_matching(struct lemona_volume *v,
			     const struct lemona_which *which,
			     struct list_head *done)
{
	struct lemona_pending *p, *next;
	unsigned int n = 0;
	LIST_HEAD(mine);

	spin_lock(&pending_lock);
	list_for_each_entry_safe(p, next, &v->pending, list) {
		if (matches(p, which)) {
			list_move_tail(&p->list, &mine);
			list_add_tail(&p->taken, &v->taken);
			p->turn = turns++;
			atomic_inc(&v->unput);
		}
	}
	spin_unlock(&pending_lock);

	list_for_each_entry(p, &mine, list) {
		capture(p, which);
		recorded(p);
		/* not for each: who waits goes through all that is taken */
		if (++n % WAKE_PAGES == 0)
			wake_waiting();
	}
	wake_waiting();
	list_splice(&mine, done);
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
		iput(p->page.inode);
		pending_free(p);
		if (atomic_dec_and_test(&v->unput))
			wake_up_all(&unputq);
	}
}

/* Read in what could not be captured, when nobody shifts the file's ranges. */
static void read_busy(struct list_head *done)
{
	struct lemona_pending *p;

	list_for_each_entry(p, done, list) {
		struct inode *inode = p->page.inode;
		struct folio *folio = ERR_PTR(-ENODATA);

		if (!p->busy)
			continue;
		filemap_invalidate_lock_shared(inode->i_mapping);
		if ((loff_t)p->page.index << PAGE_SHIFT < i_size_read(inode))
			folio = read_mapping_folio(inode->i_mapping,
						   p->page.index, NULL);
		filemap_invalidate_unlock_shared(inode->i_mapping);
		if (!IS_ERR(folio))
			folio_put(folio);
	}
}

/* Capture the matching pages of all volumes, but for those that are busy. */
static void capture_shared(const struct lemona_which *which)
{
	struct lemona_volume *v;
	LIST_HEAD(done);

	list_for_each_entry_lockless(v, &volumes, list) {
		/* who holds its lock may wait for whom this task is to wake */
		if (!anything_matches(v, which))
			continue;
		down_read(&v->lock);
		capture_matching(v, which, &done);
		up_read(&v->lock);
		if (which->mm)
			read_busy(&done);
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

/*
 * Is all recorded that was taken of an mm's pages before @turn? If nothing is
 * pending or taken, its bit is cleared. @busy: is any pending that is busy?
 */
static bool is_recorded(struct mm_struct *mm, u64 turn, bool *busy)
{
	struct lemona_volume *v;
	struct lemona_pending *p;
	bool is_clean = true;
	bool ret = false;

	*busy = false;
	spin_lock(&pending_lock);
	list_for_each_entry_lockless(v, &volumes, list) {
		list_for_each_entry(p, &v->taken, taken) {
			if (p->mm != mm)
				continue;
			if (p->turn < turn)
				goto out;
			is_clean = false;
		}
		list_for_each_entry(p, &v->pending, list) {
			if (p->mm != mm)
				continue;
			is_clean = false;
			*busy = *busy || p->busy;
		}
	}
	if (is_clean)
		clear_bit(MMF_LEMONA, &mm->flags);
	ret = true;
out:
	spin_unlock(&pending_lock);
	return ret;
}

/**
 * lemona_capture_mm - capture what an mm stored to
 * @mm: it
 *
 * Also what others are just capturing of it is recorded on return.
 */
void lemona_capture_mm(struct mm_struct *mm)
{
	bool busy;
	u64 turn;

	do {
		capture_shared(&(struct lemona_which){ .mm = mm });
		spin_lock(&pending_lock);
		turn = turns;
		spin_unlock(&pending_lock);
		wait_event(recordedq, is_recorded(mm, turn, &busy));
	} while (busy);
}

/* Record what the disk holds of a mapping's dirty pages; they stay pending. */
static void put_dirty_pages(struct inode *inode)
{
	struct lemona_page page = { inode, 0, storer_of(inode) };
	struct folio_batch batch;
	pgoff_t next = 0;
	unsigned int i;

	folio_batch_init(&batch);
	while (filemap_get_folios_tag(inode->i_mapping, &next, ULONG_MAX,
				      PAGECACHE_TAG_DIRTY, &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			page.index = batch.folios[i]->index;
			lemona_page_put_disk(&page);
			pend(&page, NULL, NULL, false);
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
	pend_own(mapping->host, pos >> PAGE_SHIFT, current->mm, NULL);
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

/* Somebody else's store, or a device's: a capture may have come first. */
void lemona_on_page_stored(struct page *page)
{
	struct folio *folio = page_folio(page);
	struct address_space *mapping = folio_mapping(folio);

	if (mapping && !folio_test_anon(folio) && !folio_test_swapcache(folio))
		stored(mapping, page_offset(page));
}

/* Its own calls come after that for the process that stored, too. */
void lemona_on_pages_stored(struct page **pages, int nr)
{
	int i;

	for (i = 0; i < nr; i++) {
		lock_page(pages[i]);
		lemona_on_page_stored(pages[i]);
		unlock_page(pages[i]);
	}
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
	pend_own(inode, vmf->pgoff, vmf->vma->vm_mm,
		 test_bit(AS_LEMONA_STRAY, &inode->i_mapping->flags) ?
		 NULL : folio);
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
		pend_own(inode, pos >> PAGE_SHIFT, current->mm, NULL);
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
		pend_own(inode, next++, current->mm, NULL);
	folio_batch_init(&batch);
	while (filemap_get_folios(mapping, &next, (to - 1) >> PAGE_SHIFT,
				  &batch)) {
		for (i = 0; i < folio_batch_count(&batch); i++) {
			struct folio *folio = batch.folios[i];

			if (!has_more(folio, from, to))
				continue;
			set_bit(AS_LEMONA, &mapping->flags);
			pend_own(inode, folio->index, current->mm, NULL);
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
		pend_own(inode, from >> PAGE_SHIFT, current->mm, NULL);
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

static int flusher_fn(void *unused)
{
	while (!kthread_should_stop()) {
		unsigned int ms = max(lemona_flush_ms, 1U);

		schedule_timeout_interruptible(msecs_to_jiffies(ms));
		capture_shared(&(struct lemona_which){ .older_than = ms });
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
