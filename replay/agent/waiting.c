// SPDX-License-Identifier: MIT
/*
 * Effects that came before a birth they need.
 *
 * The kernel shows a new name before the effect that makes it has its number
 * (d_instantiate_new() comes before the hook), and sets inherited attributes
 * before that. So effects of others on a new inode or in a new folder, or even
 * of the same task, may have lower numbers than its birth.
 *
 *  - An effect on nothing but the content and the attributes of an unborn inode
 *    touches nothing else, and nothing else touches them: it waits in the list
 *    of that inode and is applied right after the birth.
 *
 *  - One on names that needs an unborn inode, be it a folder, what is named, or
 *    what a rename replaces, can't be passed by those behind it, which may be
 *    about the same names: all of them wait in one queue, and leave it in
 *    order. Only the births that the front of the queue needs go first, that of
 *    an unborn folder before what is born in it. Nothing that they pass is about
 *    the same names: the front's effect saw the new name, and whoever makes a
 *    name holds its folder's lock from before it is seen until it has a number.
 *    That may take as long as a commit of the journal (dirsync), so content and
 *    the times that go with it, of which there can be much, pass the queue, if
 *    nothing in it is about the file.
 *
 * What waits is kept in memory; of content there can be much, and what is beyond
 * SPILL_FROM lies in a nameless file of the disk that is being rebuilt, which a
 * mount frees where an instant is read while it waits.
 *
 * A birth that was lost is not waited for (doubt.c). One that does not come
 * although all numbers up to a quiet moment did is a contradiction; so is one
 * that does not come before HELD_MAX is full. Then it is given up. Quiet is a MARK, for
 * the file system was frozen, and the end of a plan that is not midway. Midway, what
 * is in the queue has not happened yet on this disk, and the host is told from which
 * number on.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "apply.h"

/* Bytes of memory for effects that wait: a birth follows within moments. replay/memory.ts has it, too. */
#define HELD_MAX (128u << 20)
#define SPILL_FROM (HELD_MAX / 2)
/* Births that need each other: a folder in a folder in a folder, all made at this moment. */
#define CHAIN_MAX 1024

struct held {
	struct link link;
	off_t spilled_at; /* where the whole record is; < 0: here */
	char rec[]; /* or its beginning, without the content */
};

static struct {
	int fd; /* -1: there is none */
	off_t end;
	uint64_t count; /* of effects whose content is there */
} spill = { .fd = -1 };

/* What it takes of memory: the heap adds to it. */
static uint32_t cost(uint32_t size)
{
	return size + sizeof(struct held) + 16;
}

/* What waits that is about an inode. */
struct waiting {
	struct link own; /* unborn: effects on nothing else */
	struct held *birth; /* in the queue */
	unsigned int queued; /* effects in the queue on it, its birth and what replaces it among them */
};

static struct link queue = { &queue, &queue };

static struct held *held_of(struct link *l)
{
	return container_of(l, struct held, link);
}

static const struct lemona_effect *effect_of(const struct held *h)
{
	return (const void *)h->rec;
}

static uint32_t size_of(const struct held *h)
{
	return effect_of(h)->h.size_kind & LEMONA_REC_SIZE_MASK;
}

static bool is_birth(const struct lemona_effect *e)
{
	return e->h.code >= LEMONA_OP_CREATE && e->h.code <= LEMONA_OP_TMPFILE;
}

static bool is_content(const struct lemona_effect *e)
{
	return e->h.code == LEMONA_OP_WRITE || e->h.code == LEMONA_OP_PAGE;
}

/* On content and attributes of one inode only. */
static bool is_own(const struct lemona_effect *e)
{
	switch (e->h.code) {
	case LEMONA_OP_SETATTR:
	case LEMONA_OP_FALLOCATE:
	case LEMONA_OP_XATTR:
		return true;
	}
	return is_content(e);
}

/* Not born yet, and its birth is not among lost effects. */
static bool is_awaited(const struct object *o)
{
	return o->state == UNBORN && !rp.doubt_all && !(o->doubt & LEMONA_LOST_PLACE);
}

static struct object *awaited(uint64_t ino, uint32_t gen)
{
	struct object *o = object_get(ino, gen);

	return is_awaited(o) ? o : NULL;
}

static struct object *awaited_of(const struct lemona_attr *a)
{
	return awaited(a->ino, a->gen);
}

/* What the effect needs and is not born yet; or NULL. */
static struct object *missing(const struct lemona_effect *e)
{
	const struct lemona_dentry *d = (const void *)e;
	const struct lemona_rename *n = (const void *)e;
	struct object *o = NULL;

	if (e->h.code == LEMONA_OP_GONE || e->h.code == LEMONA_OP_TMPFILE)
		return NULL;
	if (e->h.code == LEMONA_OP_RENAME) {
		o = awaited_of(&n->old_dir);
		o = o ? o : awaited_of(&n->new_dir);
		if (!o && n->target.ino)
			o = awaited_of(&n->target);
	} else if (!is_own(e)) {
		o = awaited_of(&d->dir);
	}
	return o || is_birth(e) ? o : awaited(e->ino, e->gen);
}

static struct waiting *waiting_of(struct object *o)
{
	if (!o->waiting) {
		o->waiting = allocate(sizeof(*o->waiting));
		link_init(&o->waiting->own);
	}
	return o->waiting;
}

static void settle(struct object *o)
{
	struct waiting *w = o->waiting;

	if (!w || !link_alone(&w->own) || w->birth || w->queued)
		return;
	free(w);
	o->waiting = NULL;
}

/* What the effect, a rename's target aside, is on, and that target; folders do not count. */
static void queued_on(const struct lemona_effect *e, struct object *on[2])
{
	const struct lemona_rename *n = (const void *)e;

	on[0] = object_get(e->ino, e->gen);
	on[1] = NULL;
	if (e->h.code == LEMONA_OP_RENAME && n->target.ino)
		on[1] = object_get(n->target.ino, n->target.gen);
}

static void enqueue(struct held *h)
{
	const struct lemona_effect *e = effect_of(h);
	struct object *on[2];
	int i;

	link_add(&queue, &h->link);
	queued_on(e, on);
	for (i = 0; i < 2; i++)
		if (on[i])
			waiting_of(on[i])->queued++;
	if (is_birth(e) && on[0]->state == UNBORN && !on[0]->waiting->birth)
		on[0]->waiting->birth = h;
}

/* An inode that was forgotten meanwhile has no count any more. */
static void dequeue(struct held *h)
{
	struct object *on[2];
	int i;

	link_del(&h->link);
	queued_on(effect_of(h), on);
	for (i = 0; i < 2; i++) {
		if (!on[i] || !on[i]->waiting)
			continue;
		if (on[i]->waiting->queued)
			on[i]->waiting->queued--;
		if (on[i]->waiting->birth == h)
			on[i]->waiting->birth = NULL;
		/* That it waited is what its birth must know. */
		if (on[i]->state != UNBORN)
			settle(on[i]);
	}
}

/* Returns where it is now; -1: there was no room, and memory has to do. */
static off_t spill_add(const struct lemona_effect *e, uint32_t size)
{
	if (spill.fd < 0)
		spill.fd = openat(rp.root, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (spill.fd < 0 || pwrite(spill.fd, e, size, spill.end) != (ssize_t)size)
		return -1;
	spill.count++;
	spill.end += size;
	return spill.end - size;
}

void waiting_close(void)
{
	if (spill.fd >= 0)
		close(spill.fd);
	spill.fd = -1;
	spill.end = 0;
	spill.count = 0;
}

/* What of it is in memory. */
static uint32_t kept_size(const struct held *h)
{
	return h->spilled_at < 0 ? size_of(h) : sizeof(struct lemona_write);
}

/* NULL: there is no room. */
static struct held *keep(const struct lemona_effect *e, uint32_t size)
{
	uint32_t kept = sizeof(struct lemona_write);
	struct held *h;
	off_t at = -1;

	if (is_content(e) && rp.held_bytes > SPILL_FROM && rp.held_bytes + cost(kept) <= HELD_MAX)
		at = spill_add(e, size);
	if (at < 0)
		kept = size;
	if (rp.held_bytes + cost(kept) > HELD_MAX)
		return NULL;
	h = allocate(sizeof(*h) + kept);
	h->spilled_at = at;
	memcpy(h->rec, e, kept);
	rp.held_bytes += cost(kept);
	rp.held_back++;
	return h;
}

static void drop(struct held *h)
{
	rp.held_bytes -= cost(kept_size(h));
	if (h->spilled_at >= 0 && !--spill.count)
		waiting_close();
	link_del(&h->link);
	free(h);
}

/* @h is in no list. */
static void release(struct held *h)
{
	struct lemona_effect *whole = NULL;

	if (h->spilled_at >= 0) {
		whole = allocate(size_of(h));
		if (pread(spill.fd, whole, size_of(h), h->spilled_at) != (ssize_t)size_of(h))
			fatal("reading content that waited for inode %llu", (unsigned long long)effect_of(h)->ino);
	}
	writes_flush();
	apply_now(whole ? whole : effect_of(h));
	writes_flush();
	free(whole);
	drop(h);
}

/*
 * The first in the queue, or the birth that has to go before it. NULL if that has not come, and *@lacks is what it
 * would make.
 */
static struct held *next_to_go(struct object **lacks)
{
	struct held *h = held_of(queue.next);
	unsigned int i;

	*lacks = NULL;
	for (i = 0; h && i < CHAIN_MAX; i++) {
		*lacks = missing(effect_of(h));
		if (!*lacks)
			return h;
		h = (*lacks)->waiting ? (*lacks)->waiting->birth : NULL;
	}
	return NULL;
}

void waiting_go_on(void)
{
	struct object *lacks;
	struct held *h;

	while (!link_alone(&queue)) {
		h = held_of(queue.next);
		/* The queue does not wait for what waits with its inode. */
		lacks = is_own(effect_of(h)) ? missing(effect_of(h)) : NULL;
		if (lacks) {
			dequeue(h);
			link_add(&waiting_of(lacks)->own, &h->link);
			continue;
		}
		h = next_to_go(&lacks);
		if (!h)
			return;
		dequeue(h);
		release(h);
	}
}

/* The birth happened, or will not: applies what waited for nothing else. */
void waiting_own(struct object *o)
{
	while (o->waiting && !link_alone(&o->waiting->own)) {
		struct held *h = held_of(o->waiting->own.next);

		link_del(&h->link);
		release(h);
	}
	settle(o);
}

/* The inode is forgotten, and with it what waits for it. */
void waiting_forget(struct object *o)
{
	while (o->waiting && !link_alone(&o->waiting->own))
		drop(held_of(o->waiting->own.next));
	free(o->waiting);
	o->waiting = NULL;
}

/* Its birth does not come. What is known of it is applied as far as it can be. */
static void give_up(struct object *o, const struct lemona_effect *e)
{
	const struct lemona_effect *outer = mismatch_context(e);

	mismatch(o, "birth", "an effect that creates this inode", "none", ENOENT);
	mismatch_context(outer);
	object_die(o);
	waiting_own(o);
}

static void give_up_front(void)
{
	struct object *lacks;

	if (!next_to_go(&lacks))
		give_up(lacks, effect_of(held_of(queue.next)));
	waiting_go_on();
}

static void give_up_own(struct object *o)
{
	if (o->state == UNBORN && o->waiting && !link_alone(&o->waiting->own))
		give_up(o, effect_of(held_of(o->waiting->own.next)));
}

/* All that has a number is here: what is not born now will never be. */
void waiting_give_up(void)
{
	while (!link_alone(&queue))
		give_up_front();
	objects_each(give_up_own);
}

/* Content or times of a file that nothing in the queue is about. */
static bool passes(const struct lemona_effect *e)
{
	struct object *o;

	if (!is_content(e) && (e->h.code != LEMONA_OP_SETATTR || ((const struct lemona_setattr *)e)->valid))
		return false;
	o = object_get(e->ino, e->gen);
	return !o->waiting || !o->waiting->queued;
}

bool waiting_took(const struct lemona_effect *e, uint32_t size)
{
	struct object *lacks;
	struct held *h;

	for (;;) {
		lacks = NULL;
		if (link_alone(&queue) || passes(e)) {
			lacks = missing(e);
			if (!lacks)
				return false;
		}
		h = keep(e, size);
		if (h)
			break;
		if (link_alone(&queue))
			give_up(lacks, e);
		else
			give_up_front();
	}
	if (lacks && is_own(e)) {
		link_add(&waiting_of(lacks)->own, &h->link);
		return true;
	}
	enqueue(h);
	if (is_birth(e))
		waiting_go_on();
	return true;
}

/* Tells the host that the disk is older than the last effect, before the answer that ends a stretch of effects. */
void waiting_report(void)
{
	struct object *lacks;

	if (link_alone(&queue) || next_to_go(&lacks))
		return;
	say("{\"t\":\"waiting\",\"from\":\"%" PRIu64 "\",\"op\":\"%s\",\"ino\":\"%" PRIu64 "\",\"gen\":%u}\n",
	    (uint64_t)effect_of(held_of(queue.next))->seq, op_name(effect_of(held_of(queue.next))->h.code),
	    (uint64_t)lacks->attr.ino, lacks->attr.gen);
}
