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
 *
 * Several records of each system call pass through here: what can be made when a
 * sub-buffer is closed, or by a host that finds it in the memory of a dead guest,
 * is not made for each record.
 */
#include <linux/clocksource_ids.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/percpu.h>
#include <linux/random.h>
#include <linux/timekeeping.h>

#include <asm/tsc.h>

#include "lemona.h"
#include "pool.h"
#include "stream.h"

struct lemona_stream __percpu *lemona_streams;
atomic64_t lemona_seq;
u64 lemona_boot_id;

/* Close the open sub-buffer and queue it. Stream locked. */
static void stream_close(struct lemona_stream *s)
{
	struct lemona_sub *sub = s->sub;
	struct lemona_subbuf *h = sub->data;

	s->sub = NULL;
	s->limit = 0;
	s->issued += h->records;
	s->bytes += sub->relic.used - sizeof(*h);
	h->length = sub->relic.used;
	h->issued = s->issued;
	h->dropped = s->dropped;
	lemona_pool_put(sub);
}

/* How long the clock need not be read anew, and how late times may be for it */
#define CLOCK_US	256
#define LATE_NS		256

/*
 * Is the kernel's clock this processor's counter? Asked once a tick. In the first
 * second its rate is known to 1/2000 only, which is within what is allowed for.
 */
static bool clock_is_tsc(struct lemona_stream *s)
{
	struct system_time_snapshot snap;

	if (time_after(jiffies, s->clock.asked)) {
		s->clock.asked = jiffies;
		ktime_get_snapshot(&snap);
		s->clock.is_tsc = snap.cs_id == CSID_X86_TSC ||
				  snap.cs_id == CSID_X86_TSC_EARLY;
	}
	return s->clock.is_tsc;
}

/*
 * Read the clock, and keep what the processor's counter tells of the time
 * from here on. It is taken to be slower than it is, by more than a clock is ever
 * corrected, so that the time does not go back when it is read again. Under a
 * hypervisor much may pass between two instructions: then nothing is kept.
 * Stream locked.
 */
u64 lemona_stream_clock(struct lemona_stream *s)
{
	u64 before = rdtsc();
	u64 ns = ktime_get_mono_fast_ns();

	s->clock.tsc = rdtsc();
	s->clock.ns = ns;
	s->clock.valid = 0;
	if (clock_is_tsc(s) && s->clock.tsc - before < LATE_NS * (u64)tsc_khz /
						       NSEC_PER_MSEC) {
		s->clock.mult = div_u64((u64)NSEC_PER_MSEC << CLOCK_SHIFT,
					tsc_khz) / 1024 * 1023;
		s->clock.valid = CLOCK_US * (u64)tsc_khz / USEC_PER_MSEC;
	}
	return ns;
}

/* Declare what was lost before the sub-buffer that was just opened. */
static void stream_declare(struct lemona_stream *s)
{
	struct lemona_loss *loss;

	if (!s->loss.records)
		return;
	loss = (void *)lemona_stream_put(s, 0, LEMONA_KIND_LOSS,
					 lemona_lossy ? LEMONA_LOSS_LOSSY :
					 LEMONA_LOSS_NO_BUFFER, sizeof(*loss));
	loss->seq_first = s->loss.seq_first;
	loss->seq_last = s->loss.seq_last;
	loss->effects = s->loss.effects;
	loss->records = s->loss.records;
	s->sub->relic.used += sizeof(*loss);
	memset(&s->loss, 0, sizeof(s->loss));
}

/*
 * Write down what lost effects were about. Ahead of a record of @size bytes that
 * is at most half of the sub-buffer: notes shall not displace records, of which
 * there would be more to note then.
 */
static void stream_note(struct lemona_stream *s, size_t size)
{
	struct lemona_lost lost, *rec;
	u32 limit = lemona_capacity;

	if (size)
		limit = min(limit / 2, limit - (u32)size);
	while (s->sub->relic.used + sizeof(lost) <= limit &&
	       lemona_lost_take(&lost)) {
		rec = (void *)lemona_stream_put(s, 0, LEMONA_KIND_LOST, 0,
						sizeof(*rec));
		lost.h = rec->h;
		*rec = lost;
		s->sub->relic.used += sizeof(*rec);
	}
}

/* Open a sub-buffer, with nothing in it yet. Stream locked. */
static bool stream_supply(struct lemona_stream *s, u32 cpu, u64 now)
{
	struct lemona_sub *sub = lemona_pool_get();
	struct lemona_subbuf *h;

	if (!sub)
		return false;

	h = sub->data;
	memset(h, 0, sizeof(*h));
	h->magic = LEMONA_MAGIC;
	h->version = LEMONA_VERSION;
	h->cpu = cpu;
	h->abi_hash = LEMONA_ABI_HASH;
	h->boot_id = lemona_boot_id;
	h->number = s->number++;
	h->mono_ns = now;
	h->real_ns = ktime_get_real_fast_ns();
	h->dropped = s->dropped;
	sub->relic.used = sizeof(*h);
	sub->relic.issued = s->issued;
	sub->relic.state = LEMONA_RELIC_OPEN;
	s->sub = sub;
	/* in lossy mode all have to ask for their share */
	s->limit = lemona_lossy ? 0 : lemona_capacity;
	return true;
}

/* Open a sub-buffer with room for a record of @size bytes. Stream locked. */
static bool stream_start(struct lemona_stream *s, u64 now, size_t size)
{
	if (!stream_supply(s, raw_smp_processor_id(), now))
		return false;
	stream_declare(s);
	stream_note(s, size);
	return true;
}

/*
 * In lossy mode: may the current process record so much? Of the bytes that this
 * CPU finds free, those of a sub-buffer for each CPU are in reserve, be it open
 * or not: a CPU whose own is full can't use the rest of another's. Stream locked.
 */
static bool stream_share(const struct lemona_stream *s, size_t size, bool effect)
{
	u32 rest = s->sub ? lemona_capacity - s->sub->relic.used : 0;
	u64 free = (u64)lemona_pool_nr_free() * lemona_capacity + rest;
	u64 total = (u64)lemona_pool_nr_total() * lemona_capacity;
	u64 reserve = (u64)num_possible_cpus() * lemona_capacity;

	/* each CPU has one open, too */
	return lemona_has_share(size, free, reserve,
				total - min(total, 2 * reserve),
				lemona_pool_turn(), effect);
}

/* Is there room for @size bytes at time @now? Stream locked. */
static bool stream_fits(const struct lemona_stream *s, size_t size, u64 now)
{
	return s->sub && s->sub->relic.used + size <= lemona_capacity &&
	       (s64)(now - s->sub->data->mono_ns) <= U32_MAX;
}

/* Make that room if the current process may have it. Stream locked. */
bool lemona_stream_room(struct lemona_stream *s, size_t size, u64 now,
			bool effect)
{
	if (lemona_lossy && !stream_share(s, size, effect))
		return false;
	if (stream_fits(s, size, now))
		return true;
	if (s->sub)
		stream_close(s);
	return sizeof(struct lemona_subbuf) + sizeof(struct lemona_loss) +
	       size <= lemona_capacity && stream_start(s, now, size);
}

/* Count a record that found no room. Stream locked. */
void lemona_stream_drop(struct lemona_stream *s, u64 seq)
{
	s->issued++;
	s->dropped++;
	s->loss.records++;
	if (seq) {
		s->loss.effects++;
		s->loss.seq_last = seq;
		if (!s->loss.seq_first)
			s->loss.seq_first = seq;
	}
	if (s->sub) {
		s->sub->relic.issued = s->issued;
		s->sub->data->dropped = s->dropped;
	}
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
	return lemona_stream_begin(slot, kind, code, size);
}

/**
 * lemona_end - the record is complete
 * @slot: of lemona_begin()
 */
void lemona_end(struct lemona_slot *slot)
{
	lemona_stream_end(slot);
}

static struct lemona_stream *stream_lock(int cpu, unsigned long *flags)
{
	struct lemona_stream *s = per_cpu_ptr(lemona_streams, cpu);

	local_irq_save(*flags);
	arch_spin_lock(&s->lock);
	return s;
}

static void stream_unlock(struct lemona_stream *s, unsigned long flags)
{
	arch_spin_unlock(&s->lock);
	local_irq_restore(flags);
}

/*
 * Each CPU needs another one for what it records next. Asked again for each: what
 * was free a moment ago is not, when the hypervisor let others go on meanwhile.
 */
static bool may_push(bool spare)
{
	return !spare || lemona_pool_nr_free() > num_possible_cpus();
}

/**
 * lemona_push - queue all open sub-buffers that hold records
 * @spare: only where enough are free for what is recorded next
 *
 * A push takes one sub-buffer of what was lost for each CPU along, if it finds
 * them free.
 *
 * Return: whether nothing is left to be said of what was lost.
 */
bool lemona_push(bool spare)
{
	unsigned long flags;
	bool all = true;
	int cpu;

	lemona_prepare();
	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = stream_lock(cpu, &flags);

		if (s->sub && s->sub->data->records && may_push(spare))
			stream_close(s);
		/* one may be open and empty: others took the notes that it was for */
		if ((s->loss.records || lemona_lost_pending()) &&
		    may_push(spare) &&
		    (s->sub || stream_supply(s, cpu, ktime_get_mono_fast_ns()))) {
			stream_declare(s);
			stream_note(s, 0);
			if (s->sub->data->records)
				stream_close(s);
		}
		all = all && !s->loss.records;
		stream_unlock(s, flags);
	}
	return all && !lemona_lost_pending();
}

/**
 * lemona_drain - push, and wait until all sinks have released it all
 *
 * As many pushes as all notes may need: there is no end to what tasks that go on
 * may lose.
 *
 * Return: 0, or -ERESTARTSYS.
 */
int lemona_drain(void)
{
	unsigned int pushes = 1 + LEMONA_NOTES * sizeof(struct lemona_lost) /
				  (lemona_capacity -
				   sizeof(struct lemona_subbuf));
	bool all;
	int error;

	do {
		all = lemona_push(false);
		error = lemona_pool_wait(lemona_pool_closed());
	} while (!error && !all && pushes--);
	return error;
}

void lemona_get_stats(struct lemona_stats *stats)
{
	unsigned long flags;
	int cpu;

	memset(stats, 0, sizeof(*stats));
	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = stream_lock(cpu, &flags);

		stats->issued += s->issued;
		stats->dropped += s->dropped;
		stats->bytes += s->bytes;
		if (s->sub) {
			stats->issued += s->sub->data->records;
			stats->bytes += s->sub->relic.used -
					sizeof(struct lemona_subbuf);
		}
		stream_unlock(s, flags);
	}
	stats->recorded = stats->issued - stats->dropped;
	stats->effects = atomic64_read(&lemona_seq);
	lemona_pool_stats(stats);
}

int lemona_buffers_init(void)
{
	int error;

	lemona_boot_id = get_random_u64();
	error = lemona_lost_init();
	if (error)
		return error;
	lemona_streams = alloc_percpu(struct lemona_stream);
	error = -ENOMEM;
	if (!lemona_streams)
		goto out_lost;
	error = lemona_pool_init();
	if (!error)
		return 0;
	free_percpu(lemona_streams);
out_lost:
	lemona_lost_exit();
	return error;
}

void lemona_buffers_exit(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct lemona_stream *s = per_cpu_ptr(lemona_streams, cpu);

		if (s->sub)
			lemona_sub_free(s->sub);
	}
	lemona_pool_exit();
	free_percpu(lemona_streams);
	lemona_lost_exit();
}
