// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Streams: where records are written and numbered.
 *
 * Each CPU has a stream with one open sub-buffer. A full one is closed, queued
 * for the sinks and replaced from the pool. A sub-buffer stands for itself:
 * whoever reads it needs no other.
 *
 * An effect's sequence number is drawn between lemona_begin()'s reservation and
 * its return, with interrupts off and the stream locked, while the caller holds
 * the lock that orders the effect. So the numbers of a stream ascend, and
 * numbers follow the order of the locks.
 *
 * What finds no room is counted and declared by a LOSS record.
 */
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/spinlock.h>
#include <linux/timekeeping.h>

#include "lemona.h"
#include "pool.h"

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

static struct lemona_stream __percpu *streams;
static atomic64_t lemona_seq;
u64 lemona_boot_id;

/* Close the open sub-buffer and queue it. Stream locked. */
static void stream_close(struct lemona_stream *s)
{
	struct lemona_sub *sub = s->sub;

	s->sub = NULL;
	sub->data->length = sub->used;
	sub->relic.used = sub->used;
	sub->data->issued = s->issued;
	sub->data->dropped = s->dropped;
	lemona_pool_put(sub);
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
	struct lemona_lost lost, *rec;
	u32 limit = lemona_capacity;

	if (size)
		limit = min(limit / 2, limit - (u32)size);
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
	struct lemona_sub *sub = lemona_pool_get();
	struct lemona_subbuf *h;

	if (!sub)
		return false;

	h = sub->data;
	memset(h, 0, sizeof(*h));
	h->magic = LEMONA_MAGIC;
	h->version = LEMONA_VERSION;
	h->cpu = raw_smp_processor_id();
	h->abi_hash = LEMONA_ABI_HASH;
	h->boot_id = lemona_boot_id;
	h->number = s->number++;
	h->mono_ns = now;
	h->real_ns = ktime_get_real_fast_ns();
	sub->used = sizeof(*h);
	sub->relic.used = 0;
	sub->relic.state = LEMONA_RELIC_OPEN;
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
	u32 rest = s->sub ? lemona_capacity - s->sub->used : 0;
	u32 nr_free = lemona_pool_nr_free();
	u32 spare = nr_free - min(nr_free, num_possible_cpus());

	return lemona_has_share(size, (u64)nr_free * lemona_capacity + rest,
				(u64)spare * lemona_capacity + rest,
				lemona_pool_turn(), effect);
}

/* Make room for @size bytes at time @now. Stream locked. */
static bool stream_room(struct lemona_stream *s, size_t size, u64 now)
{
	if (s->sub && (s->sub->used + size > lemona_capacity ||
		       (s64)(now - s->sub->data->mono_ns) > U32_MAX))
		stream_close(s);
	if (s->sub)
		return true;
	return sizeof(struct lemona_subbuf) + sizeof(struct lemona_loss) +
	       size <= lemona_capacity && stream_begin(s, now, size);
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
	struct lemona_stream *s = slot->stream;

	/* should the kernel crash, the host finds a whole sub-buffer */
	if (s->sub) {
		s->sub->data->issued = s->issued;
		s->sub->data->dropped = s->dropped;
		WRITE_ONCE(s->sub->relic.used, s->sub->used);
	}
	raw_spin_unlock(&s->lock);
	local_irq_restore(slot->flags);
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
 * lemona_drain - push, and wait until all sinks have released it all
 *
 * A push takes one sub-buffer of notes for each CPU along. As many pushes as all
 * notes may need: there is no end to what tasks that go on may lose.
 *
 * Return: 0, or -ERESTARTSYS.
 */
int lemona_drain(void)
{
	unsigned int pushes = 1 + LEMONA_NOTES * sizeof(struct lemona_lost) /
				  (lemona_capacity -
				   sizeof(struct lemona_subbuf));
	int error;

	do {
		lemona_push();
		error = lemona_pool_wait(lemona_pool_closed());
	} while (!error && lemona_lost_pending() && pushes--);
	return error;
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
	lemona_pool_stats(stats);
}

int lemona_buffers_init(void)
{
	int error;
	int cpu;

	lemona_boot_id = get_random_u64();
	error = lemona_lost_init();
	if (error)
		return error;
	streams = alloc_percpu(struct lemona_stream);
	error = -ENOMEM;
	if (!streams)
		goto out_lost;
	for_each_possible_cpu(cpu)
		raw_spin_lock_init(&per_cpu_ptr(streams, cpu)->lock);
	error = lemona_pool_init();
	if (!error)
		return 0;
	free_percpu(streams);
out_lost:
	lemona_lost_exit();
	return error;
}

void lemona_buffers_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = per_cpu_ptr(streams, cpu);

		if (s->sub)
			lemona_sub_free(s->sub);
	}
	lemona_pool_exit();
	free_percpu(streams);
	lemona_lost_exit();
}
