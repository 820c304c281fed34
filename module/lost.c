// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * What lost effects may have touched.
 *
 * A LOSS record says how many effects are missing, and their numbers. That a
 * rebuild can vouch for everything else it must know what they were about:
 * each leaves notes here, joined per inode, and coarser when there are too
 * many. The sub-buffers that open next take them along.
 *
 * Notes come and go at the end of the table, so the last one of all is also the
 * first of its hash chain.
 */
#include <linux/fs.h>
#include <linux/hash.h>
#include <linux/kdev_t.h>
#include <linux/log2.h>
#include <linux/minmax.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>

#include "lemona.h"

#define COARSE	8	/* of all notes, for whole filesystems */

struct note {
	u64 seq_first;
	u64 seq_last;
	u64 ino;
	u64 pos;
	u64 end;
	u32 gen;
	u32 dev;
	u32 what;
	u32 effects;
	struct note *next;	/* in the chain of its hash */
};

static DEFINE_RAW_SPINLOCK(notes_lock);	/* protects all below */
static struct note *notes;
static struct note **chains;
static unsigned int max_notes;	/* a power of two */
static unsigned int nr_notes;

static struct note **chain_of(u64 ino, u32 gen, u32 dev)
{
	return &chains[hash_64(ino ^ (u64)gen << 32 ^ (u64)dev << 16,
			       ilog2(max_notes))];
}

static struct note *find_note(u64 ino, u32 gen, u32 dev)
{
	struct note *n;

	for (n = *chain_of(ino, gen, dev); n; n = n->next) {
		if (n->ino == ino && n->gen == gen && n->dev == dev)
			return n;
	}
	return NULL;
}

static struct note *add_note(u64 ino, u32 gen, u32 dev)
{
	struct note **chain = chain_of(ino, gen, dev);
	struct note *n = &notes[nr_notes++];

	memset(n, 0, sizeof(*n));
	n->seq_first = U64_MAX;
	n->ino = ino;
	n->gen = gen;
	n->dev = dev;
	n->next = *chain;
	*chain = n;
	return n;
}

/* The note on an inode; or on its filesystem; or, with one left, on all. */
static struct note *get_note(struct inode *inode)
{
	u32 dev = inode ? new_encode_dev(inode->i_sb->s_dev) : 0;
	unsigned int room = max_notes - nr_notes;
	struct note *n;

	if (inode) {
		n = find_note(inode->i_ino, inode->i_generation, dev);
		if (n)
			return n;
		if (room > COARSE)
			return add_note(inode->i_ino, inode->i_generation, dev);
	}
	n = find_note(0, 0, dev);
	if (n)
		return n;
	if (room > 1)
		return add_note(0, 0, dev);
	return find_note(0, 0, 0) ?: add_note(0, 0, 0);
}

/**
 * lemona_lost - note what a lost effect was about
 * @slot: of the lemona_begin() that returned NULL
 * @inode: what it touched, or NULL for any filesystem
 * @what: LEMONA_LOST_*
 * @pos: first byte of lost content
 * @len: its bytes, or U64_MAX
 * @effects: 1 for the note that counts the effect, 0 for its others
 */
void lemona_lost(const struct lemona_slot *slot, struct inode *inode, u32 what,
		 u64 pos, u64 len, u32 effects)
{
	unsigned long flags;
	struct note *n;

	raw_spin_lock_irqsave(&notes_lock, flags);
	n = get_note(inode);
	n->seq_first = min(n->seq_first, slot->seq);
	n->seq_last = max(n->seq_last, slot->seq);
	n->effects += effects;
	if (!n->ino && what) {
		what = LEMONA_LOST_ALL;
		pos = 0;
		len = U64_MAX;
	}
	if (what & LEMONA_LOST_CONTENT) {
		u64 end = len > U64_MAX - pos ? U64_MAX : pos + len;

		if (!(n->what & LEMONA_LOST_CONTENT))
			n->pos = pos;
		n->pos = min(n->pos, pos);
		n->end = max(n->end, end);
	}
	n->what |= what;
	raw_spin_unlock_irqrestore(&notes_lock, flags);
}

bool lemona_lost_pending(void)
{
	return READ_ONCE(nr_notes);
}

/**
 * lemona_lost_take - take a note away
 * @rec: filled but for its header
 *
 * Interrupts are off. Return: whether there was one.
 */
bool lemona_lost_take(struct lemona_lost *rec)
{
	bool any;

	raw_spin_lock(&notes_lock);
	any = nr_notes;
	if (any) {
		const struct note *n = &notes[--nr_notes];

		*chain_of(n->ino, n->gen, n->dev) = n->next;
		rec->seq_first = n->seq_first;
		rec->seq_last = n->seq_last;
		rec->ino = n->ino;
		rec->gen = n->gen;
		rec->dev = n->dev;
		rec->what = n->what;
		rec->effects = n->effects;
		rec->pos = n->pos;
		rec->len = n->end == U64_MAX ? U64_MAX : n->end - n->pos;
	}
	raw_spin_unlock(&notes_lock);
	return any;
}

int lemona_lost_init(void)
{
	/* else records are lost only when there is no memory */
	max_notes = lemona_lossy ? LEMONA_NOTES : 256;
	notes = vcalloc(max_notes, sizeof(*notes));
	chains = vcalloc(max_notes, sizeof(*chains));
	if (notes && chains)
		return 0;
	lemona_lost_exit();
	return -ENOMEM;
}

void lemona_lost_exit(void)
{
	vfree(notes);
	vfree(chains);
}
