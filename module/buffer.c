// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Sub-buffers: where records are written, numbered, and wait for the reader.
 *
 * Each CPU has a stream with one open sub-buffer. A full one is closed, queued
 * for the reader and replaced from the pool. A sub-buffer stands for itself:
 * whoever reads it needs no other.
 *
 * An effect's sequence number is drawn between lemona_begin()'s reservation and
 * its return, with interrupts off and the stream locked, while the caller holds
 * the lock that orders the effect. So the numbers of a stream ascend, and
 * numbers follow the order of the locks.
 *
 * Nothing is lost in lossless mode because there are two limits. Where waiting
 * is legal (lemona_wait_for_space()) a task waits while more than pool_mb is
 * queued. Elsewhere lemona_prepare(), which may sleep but never waits for the
 * reader, adds sub-buffers to the pool as needed. What can't be recorded all
 * the same is counted and declared by a LOSS record.
 */
#include <linux/irq_work.h>
#include <linux/list.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "lemona.h"

/**
 * struct lemona_sub - a sub-buffer
 * @list: in the pool's free or full list
 * @used: bytes written, header included
 * @data: lemona_subbuf_kb KiB
 */
struct lemona_sub {
	struct list_head list;
	u32 used;
	struct lemona_subbuf *data;
};

/**
 * struct lemona_stream - what one CPU records
 * @lock: protects all members; interrupts off. Remote CPUs take it to push
 * @sub: the open sub-buffer, or NULL
 * @number: of the next sub-buffer
 * @issued: records begun
 * @dropped: of those, not recorded
 * @bytes: recorded
 * @loss: dropped but not yet declared
 */
struct lemona_stream {
	raw_spinlock_t lock;
	struct lemona_sub *sub;
	u64 number;
	u64 issued;
	u64 dropped;
	u64 bytes;
	struct {
		u64 seq_first;
		u64 seq_last;
		u32 effects;
		u32 records;
	} loss;
};

static struct {
	raw_spinlock_t lock;	/* protects the lists and counts */
	struct list_head free;
	struct list_head full;
	unsigned int nr_free;
	unsigned int nr_full;
	unsigned int nr_total;
	unsigned int reserve;	/* lemona_prepare() keeps so many free */
	unsigned int limit;	/* writers wait above so many full */
	unsigned int early;	/* the pool's bound before a reader comes */
	u64 pushed;		/* ever queued for the reader */
	u64 consumed;		/* of those, given back by the reader */
	u32 turn;		/* times it has given back a whole pool, from 1 */
	bool attached;
	bool idle;		/* the reader waits in read(), and runs no code */
	bool stopping;
} pool;

static struct lemona_stream __percpu *streams;
static atomic64_t lemona_seq;
static atomic64_t throttled;
static u64 boot_id;
static u32 capacity;

DECLARE_WAIT_QUEUE_HEAD(lemona_readq);
static DECLARE_WAIT_QUEUE_HEAD(spaceq);	/* writers, and whoever drains */

static void lemona_wake_reader(struct irq_work *work)
{
	wake_up_interruptible(&lemona_readq);
}

static DEFINE_IRQ_WORK(wake_work, lemona_wake_reader);

static struct lemona_sub *sub_alloc(gfp_t gfp)
{
	struct lemona_sub *sub = kmalloc(sizeof(*sub), gfp);

	if (!sub)
		return NULL;
	sub->data = __vmalloc(capacity, gfp);
	if (!sub->data) {
		kfree(sub);
		return NULL;
	}
	return sub;
}

static void sub_free(struct lemona_sub *sub)
{
	vfree(sub->data);
	kfree(sub);
}

struct lemona_subbuf *lemona_sub_data(struct lemona_sub *sub)
{
	return sub->data;
}

static void pool_add(struct lemona_sub *sub)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	list_add(&sub->list, &pool.free);
	pool.nr_free++;
	pool.nr_total++;
	raw_spin_unlock_irqrestore(&pool.lock, flags);
}

/**
 * lemona_prepare - make sure that the next records find room
 *
 * May sleep for memory, never for the reader, so it may be called under inode,
 * folio and journal locks. In lossy mode the pool does not grow.
 */
void lemona_prepare(void)
{
	while (READ_ONCE(pool.nr_free) < pool.reserve && !lemona_lossy) {
		struct lemona_sub *sub;

		if (!READ_ONCE(pool.attached) &&
		    READ_ONCE(pool.nr_total) >= pool.early)
			return;
		sub = sub_alloc(GFP_NOFS | __GFP_NOWARN);
		if (!sub)
			return;
		pool_add(sub);
	}
}

/* Close the open sub-buffer and queue it. Stream locked. */
static void stream_close(struct lemona_stream *s)
{
	struct lemona_sub *sub = s->sub;

	s->sub = NULL;
	sub->data->length = sub->used;
	sub->data->issued = s->issued;
	sub->data->dropped = s->dropped;
	raw_spin_lock(&pool.lock);
	list_add_tail(&sub->list, &pool.full);
	pool.nr_full++;
	pool.pushed++;
	raw_spin_unlock(&pool.lock);
	irq_work_queue(&wake_work);
}

static struct lemona_rec *stream_put(struct lemona_stream *s, u64 now,
				     enum lemona_kind kind, u16 code,
				     size_t size)
{
	struct lemona_subbuf *h = s->sub->data;
	struct lemona_rec *rec = (void *)h + s->sub->used;

	s->sub->used += size;
	s->bytes += size;
	h->records++;
	/* the tail of the last word is padding */
	*(u64 *)((void *)rec + size - 8) = 0;
	rec->size_kind = size | (u32)kind << LEMONA_REC_KIND_SHIFT;
	rec->code = code;
	rec->flags = 0;
	rec->tid = current->pid;
	rec->dt = now > h->mono_ns ? now - h->mono_ns : 0;
	return rec;
}

/* Declare what was lost before the sub-buffer that was just opened. */
static void stream_declare(struct lemona_stream *s, u64 now)
{
	struct lemona_loss *loss;

	if (!s->loss.records)
		return;
	s->issued++;
	loss = (void *)stream_put(s, now, LEMONA_KIND_LOSS,
				  lemona_lossy ? LEMONA_LOSS_LOSSY :
				  LEMONA_LOSS_NO_BUFFER, sizeof(*loss));
	loss->seq_first = s->loss.seq_first;
	loss->seq_last = s->loss.seq_last;
	loss->effects = s->loss.effects;
	loss->records = s->loss.records;
	memset(&s->loss, 0, sizeof(s->loss));
}

/*
 * Write down what lost effects were about. Ahead of a record of @size bytes that
 * is at most half of the sub-buffer: notes shall not displace records, of which
 * there would be more to note then.
 */
static void stream_note(struct lemona_stream *s, u64 now, size_t size)
{
	u32 limit = size ? min(capacity / 2, capacity - (u32)size) : capacity;
	struct lemona_lost lost, *rec;

	while (s->sub->used + sizeof(lost) <= limit &&
	       lemona_lost_take(&lost)) {
		s->issued++;
		rec = (void *)stream_put(s, now, LEMONA_KIND_LOST, 0,
					 sizeof(*rec));
		lost.h = rec->h;
		*rec = lost;
	}
}

/* Open a sub-buffer with room for a record of @size bytes. */
static bool stream_begin(struct lemona_stream *s, u64 now, size_t size)
{
	struct lemona_sub *sub;
	struct lemona_subbuf *h;

	raw_spin_lock(&pool.lock);
	sub = list_first_entry_or_null(&pool.free, struct lemona_sub, list);
	if (sub) {
		list_del(&sub->list);
		pool.nr_free--;
	}
	raw_spin_unlock(&pool.lock);
	if (!sub)
		return false;

	h = sub->data;
	memset(h, 0, sizeof(*h));
	h->magic = LEMONA_MAGIC;
	h->version = LEMONA_VERSION;
	h->cpu = raw_smp_processor_id();
	h->abi_hash = LEMONA_ABI_HASH;
	h->boot_id = boot_id;
	h->number = s->number++;
	h->mono_ns = now;
	h->real_ns = ktime_get_real_fast_ns();
	sub->used = sizeof(*h);
	s->sub = sub;
	stream_declare(s, now);
	stream_note(s, now, size);
	return true;
}

/*
 * In lossy mode: may the current process record so much? Of the bytes that this
 * CPU finds free, a sub-buffer for each CPU is in reserve: a CPU whose own is
 * full can't use the rest of another's. Stream locked.
 */
static bool stream_share(const struct lemona_stream *s, size_t size, bool effect)
{
	u32 rest = s->sub ? capacity - s->sub->used : 0;
	u32 nr_free = READ_ONCE(pool.nr_free);
	u32 spare = nr_free - min(nr_free, num_possible_cpus());

	return lemona_has_share(size, (u64)nr_free * capacity + rest,
				(u64)spare * capacity + rest,
				READ_ONCE(pool.turn), effect);
}

/* Make room for @size bytes at time @now. Stream locked. */
static bool stream_room(struct lemona_stream *s, size_t size, u64 now)
{
	if (s->sub && (s->sub->used + size > capacity ||
		       (s64)(now - s->sub->data->mono_ns) > U32_MAX))
		stream_close(s);
	if (s->sub)
		return true;
	return sizeof(struct lemona_subbuf) + sizeof(struct lemona_loss) +
	       size <= capacity && stream_begin(s, now, size);
}

/**
 * lemona_begin - reserve a record, and draw an effect's sequence number
 * @slot: set, for lemona_end()
 * @kind: of the record
 * @code: of the record
 * @size: bytes of the record, its header included
 *
 * Callable from any context but NMI. The record's header is filled in, for an
 * effect the sequence number too. Return: the record, to be filled before
 * lemona_end(); or NULL if it was lost, and counted so.
 */
void *lemona_begin(struct lemona_slot *slot, enum lemona_kind kind, u16 code,
		   size_t size)
{
	struct lemona_stream *s;
	struct lemona_rec *rec;
	bool room;
	u64 seq = 0;
	u64 now;

	size = ALIGN(size, 8);
	local_irq_save(slot->flags);
	s = this_cpu_ptr(streams);
	slot->stream = s;
	raw_spin_lock(&s->lock);

	now = ktime_get_mono_fast_ns();
	room = (!lemona_lossy ||
		stream_share(s, size, kind == LEMONA_KIND_EFFECT)) &&
	       stream_room(s, size, now);
	s->issued++;
	if (kind == LEMONA_KIND_EFFECT)
		seq = atomic64_inc_return(&lemona_seq);
	slot->seq = seq;
	if (unlikely(!room)) {
		s->dropped++;
		s->loss.records++;
		if (seq) {
			s->loss.effects++;
			s->loss.seq_last = seq;
			if (!s->loss.seq_first)
				s->loss.seq_first = seq;
		}
		lemona_end(slot);
		return NULL;
	}

	rec = stream_put(s, now, kind, code, size);
	if (seq) {
		struct lemona_subbuf *h = s->sub->data;

		((struct lemona_effect *)rec)->seq = seq;
		h->effects++;
		h->seq_last = seq;
		if (!h->seq_first)
			h->seq_first = seq;
	}
	return rec;
}

/**
 * lemona_end - the record is complete
 * @slot: of lemona_begin()
 */
void lemona_end(struct lemona_slot *slot)
{
	raw_spin_unlock(&slot->stream->lock);
	local_irq_restore(slot->flags);
}

static bool pool_overfull(void)
{
	return READ_ONCE(pool.nr_full) > pool.limit &&
	       READ_ONCE(pool.attached) && !READ_ONCE(pool.stopping);
}

/**
 * lemona_wait_for_space - wait for the reader if too much is queued
 *
 * Only where no lock is held that the reader might need. Kernel threads and
 * exempt tasks (the reader is one) do not wait.
 */
void lemona_wait_for_space(void)
{
	if (likely(!pool_overfull()) || lemona_lossy)
		return;
	if ((current->flags & PF_KTHREAD) ||
	    !test_task_syscall_work(current, LEMONA))
		return;
	atomic64_inc(&throttled);
	wait_event_killable(spaceq, !pool_overfull());
}

/** lemona_push - queue all open sub-buffers that hold records */
void lemona_push(void)
{
	unsigned long flags;
	int cpu;

	lemona_prepare();
	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = per_cpu_ptr(streams, cpu);

		raw_spin_lock_irqsave(&s->lock, flags);
		if (s->sub && s->sub->data->records)
			stream_close(s);
		if (!s->sub && (s->loss.records || lemona_lost_pending()) &&
		    stream_begin(s, ktime_get_mono_fast_ns(), 0)) {
			s->sub->data->cpu = cpu;
			if (s->sub->data->records)
				stream_close(s);
		}
		raw_spin_unlock_irqrestore(&s->lock, flags);
	}
}

/**
 * lemona_tick - keep the reader and the pool supplied
 *
 * A reader that has enough to do gets no half-full sub-buffers: they would use
 * up the pool while the scheduler, which can't call lemona_prepare(), needs it.
 */
void lemona_tick(void)
{
	lemona_prepare();
	if (!READ_ONCE(pool.nr_full))
		lemona_push();
}

/**
 * lemona_drain - push, and wait until the reader has taken it all
 *
 * A push takes one sub-buffer of notes for each CPU along. As many pushes as all
 * notes may need: there is no end to what tasks that go on may lose.
 *
 * Return: 0, or -ERESTARTSYS.
 */
int lemona_drain(void)
{
	unsigned int pushes = 1 + LEMONA_NOTES * sizeof(struct lemona_lost) /
				  (capacity - sizeof(struct lemona_subbuf));
	int error;

	do {
		u64 target;

		lemona_push();
		target = READ_ONCE(pool.pushed);
		error = wait_event_interruptible(spaceq,
						 READ_ONCE(pool.consumed) >= target ||
						 READ_ONCE(pool.stopping));
	} while (!error && lemona_lost_pending() && pushes--);
	return error;
}

void lemona_reader_attach(bool attached)
{
	WRITE_ONCE(pool.attached, attached);
	wake_up_all(&spaceq);
}

bool lemona_readable(void)
{
	return READ_ONCE(pool.nr_full) || READ_ONCE(pool.stopping);
}

/**
 * lemona_next - take the oldest queued sub-buffer
 * @sub: set to it
 * @nonblock: do not wait
 *
 * Return: 0, -EAGAIN, -ERESTARTSYS, or -EPIPE when the driver stops.
 */
int lemona_next(struct lemona_sub **sub, bool nonblock)
{
	unsigned long flags;
	bool idle;
	int error;

	for (;;) {
		raw_spin_lock_irqsave(&pool.lock, flags);
		*sub = list_first_entry_or_null(&pool.full, struct lemona_sub,
						list);
		if (*sub) {
			list_del(&(*sub)->list);
			pool.nr_full--;
		}
		pool.idle = !*sub && !nonblock && !pool.stopping;
		idle = pool.idle;
		raw_spin_unlock_irqrestore(&pool.lock, flags);
		if (*sub)
			return 0;
		if (!idle)
			return nonblock ? -EAGAIN : -EPIPE;
		wake_up_all(&spaceq);
		error = wait_event_interruptible(lemona_readq,
						 lemona_readable());
		if (error) {
			raw_spin_lock_irqsave(&pool.lock, flags);
			pool.idle = false;
			raw_spin_unlock_irqrestore(&pool.lock, flags);
			return error;
		}
	}
}

/**
 * lemona_when_idle - call @fn while the reader waits in read()
 * @fn: called with interrupts off, and a lock held that keeps the reader there
 * @arg: for @fn
 *
 * Return: 0, -ERESTARTSYS, or -EPIPE when the driver stops; then @fn was not
 * called.
 */
int lemona_when_idle(void (*fn)(void *arg), void *arg)
{
	unsigned long flags;
	bool idle;
	int error;

	do {
		error = wait_event_interruptible(spaceq,
						 READ_ONCE(pool.idle) ||
						 READ_ONCE(pool.stopping));
		if (error)
			return error;
		raw_spin_lock_irqsave(&pool.lock, flags);
		idle = pool.idle;
		if (idle)
			fn(arg);
		raw_spin_unlock_irqrestore(&pool.lock, flags);
		if (!idle && READ_ONCE(pool.stopping))
			return -EPIPE;
	} while (!idle);
	return 0;
}

/**
 * lemona_free - the reader has delivered a sub-buffer
 * @sub: from lemona_next()
 */
void lemona_free(struct lemona_sub *sub)
{
	unsigned long flags;
	bool surplus;

	raw_spin_lock_irqsave(&pool.lock, flags);
	pool.consumed++;
	pool.turn = 1 + div_u64(pool.consumed, max(pool.nr_total, 1U));
	surplus = pool.nr_total > pool.limit + pool.reserve &&
		  pool.nr_free > pool.reserve;
	if (surplus) {
		pool.nr_total--;
	} else {
		list_add(&sub->list, &pool.free);
		pool.nr_free++;
	}
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	if (surplus)
		sub_free(sub);
	wake_up_all(&spaceq);
}

void lemona_get_stats(struct lemona_stats *stats)
{
	int cpu;

	memset(stats, 0, sizeof(*stats));
	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = per_cpu_ptr(streams, cpu);

		stats->issued += s->issued;
		stats->dropped += s->dropped;
		stats->bytes += s->bytes;
	}
	stats->recorded = stats->issued - stats->dropped;
	stats->effects = atomic64_read(&lemona_seq);
	stats->subbufs = pool.consumed;
	stats->pool_bytes = (u64)pool.nr_total * capacity;
	stats->throttled = atomic64_read(&throttled);
}

static void pool_empty(struct list_head *list)
{
	struct lemona_sub *sub, *next;

	list_for_each_entry_safe(sub, next, list, list)
		sub_free(sub);
}

int lemona_buffers_init(void)
{
	unsigned int i;
	int error;
	int cpu;

	/* without losses there must be room for the largest effect */
	capacity = clamp(lemona_subbuf_kb, lemona_lossy ? 64U : 96U, 1024U) *
		   1024;
	pool.turn = 1;
	boot_id = get_random_u64();
	raw_spin_lock_init(&pool.lock);
	INIT_LIST_HEAD(&pool.free);
	INIT_LIST_HEAD(&pool.full);
	/*
	 * One to open and one to spare for each CPU, for the scheduler's hook;
	 * in lossy mode one more, since those to spare are not for everybody.
	 */
	pool.reserve = (lemona_lossy ? 3 : 2) * num_possible_cpus() + 2;
	pool.limit = (u64)lemona_pool_mb * SZ_1M / capacity;
	pool.early = (u64)lemona_early_mb * SZ_1M / capacity + pool.reserve;

	error = lemona_lost_init();
	if (error)
		return error;
	streams = alloc_percpu(struct lemona_stream);
	if (!streams)
		goto out_lost;
	for_each_possible_cpu(cpu)
		raw_spin_lock_init(&per_cpu_ptr(streams, cpu)->lock);

	/* in lossy mode the pool has its full size at once */
	for (i = 0; i < pool.reserve + (lemona_lossy ? pool.limit : 0); i++) {
		struct lemona_sub *sub = sub_alloc(GFP_KERNEL);

		if (!sub)
			goto out_pool;
		pool_add(sub);
	}
	return 0;

out_pool:
	pool_empty(&pool.free);
	free_percpu(streams);
out_lost:
	lemona_lost_exit();
	return -ENOMEM;
}

/** lemona_buffers_stop - let nobody wait any more */
void lemona_buffers_stop(void)
{
	WRITE_ONCE(pool.stopping, true);
	wake_up_all(&spaceq);
	wake_up_all(&lemona_readq);
}

void lemona_buffers_exit(void)
{
	int cpu;

	irq_work_sync(&wake_work);
	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = per_cpu_ptr(streams, cpu);

		if (s->sub)
			sub_free(s->sub);
	}
	pool_empty(&pool.full);
	pool_empty(&pool.free);
	free_percpu(streams);
	lemona_lost_exit();
}
