/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/*
 * A CPU's stream, and the quick way to put a record into it: several records of
 * each system call come this way.
 */
#ifndef LEMONA_STREAM_H
#define LEMONA_STREAM_H

#include <linux/irqflags.h>
#include <linux/percpu.h>
#include <linux/sched.h>
#include <linux/spinlock.h>

#include <asm/msr.h>

#include "lemona.h"
#include "pool.h"

/**
 * struct lemona_stream - what one CPU records
 * @lock: protects all members; interrupts off. Remote CPUs take it to push
 * @limit: of what is in the open sub-buffer, for who takes the quick way
 * @sub: the open sub-buffer, or NULL
 * @clock: the time when it was read last
 * @clock.tsc: of this processor then
 * @clock.ns: the monotonic clock then
 * @clock.mult: nanoseconds of a cycle, times 2^CLOCK_SHIFT
 * @clock.valid: cycles for which that holds; 0: it is to be read each time
 * @clock.asked: when it was asked last what the kernel's clock is, in jiffies
 * @clock.is_tsc: it is this counter
 * @number: of the next sub-buffer
 * @issued: records begun, but for those in the open sub-buffer
 * @dropped: of those, not recorded
 * @bytes: recorded, but for those in the open sub-buffer
 * @loss: dropped but not yet declared
 */
struct lemona_stream {
	arch_spinlock_t lock;	/* raw_spin_lock() would be a call */
	u32 limit;
	struct lemona_sub *sub;
	struct {
		u64 tsc;
		u64 ns;
		u64 mult;
		u64 valid;
		unsigned long asked;
		bool is_tsc;
	} clock;
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

#define CLOCK_SHIFT	32

extern struct lemona_stream __percpu *lemona_streams;
extern atomic64_t lemona_seq;

u64 lemona_stream_clock(struct lemona_stream *s);
bool lemona_stream_room(struct lemona_stream *s, size_t size, u64 now,
			bool effect);
void lemona_stream_drop(struct lemona_stream *s, u64 seq);

/* The monotonic clock. Stream locked. */
static __always_inline u64 lemona_stream_now(struct lemona_stream *s)
{
	u64 cycles = rdtsc() - s->clock.tsc;

	if (unlikely(cycles >= s->clock.valid))
		return lemona_stream_clock(s);
	return s->clock.ns + (cycles * s->clock.mult >> CLOCK_SHIFT);
}

/* The header of a record that is not in use yet. Stream locked. */
static __always_inline struct lemona_rec *
lemona_stream_put(struct lemona_stream *s, u32 dt, enum lemona_kind kind,
		  u16 code, size_t size)
{
	struct lemona_subbuf *h = s->sub->data;
	struct lemona_rec *rec = (void *)h + s->sub->relic.used;

	h->records++;
	/* the tail of the last word is padding */
	*(u64 *)((void *)rec + size - 8) = 0;
	rec->size_kind = size | (u32)kind << LEMONA_REC_KIND_SHIFT;
	rec->code = code;
	rec->flags = 0;
	rec->tid = current->pid;
	rec->dt = dt;
	return rec;
}

/* lemona_begin(), inlined */
static __always_inline void *
lemona_stream_begin(struct lemona_slot *slot, enum lemona_kind kind, u16 code,
		    size_t size)
{
	bool effect = kind == LEMONA_KIND_EFFECT;
	struct lemona_stream *s;
	struct lemona_rec *rec;
	bool room = false;
	u64 now, dt = 0;

	size = ALIGN(size, 8);
	local_irq_save(slot->flags);
	s = this_cpu_ptr(lemona_streams);
	slot->stream = s;
	slot->size = size;
	arch_spin_lock(&s->lock);

	now = lemona_stream_now(s);
	if (likely(s->sub)) {
		/* a clock that has gone back gives a large number here */
		dt = now - s->sub->data->mono_ns;
		room = s->sub->relic.used + size <= s->limit && dt <= U32_MAX;
	}
	if (unlikely(!room)) {
		room = lemona_stream_room(s, size, now, effect);
		dt = room ? max_t(s64, now - s->sub->data->mono_ns, 0) : 0;
	}
	slot->seq = effect ? atomic64_inc_return(&lemona_seq) : 0;
	if (unlikely(!room)) {
		lemona_stream_drop(s, slot->seq);
		arch_spin_unlock(&s->lock);
		local_irq_restore(slot->flags);
		return NULL;
	}

	rec = lemona_stream_put(s, dt, kind, code, size);
	if (effect) {
		struct lemona_subbuf *h = s->sub->data;

		((struct lemona_effect *)rec)->seq = slot->seq;
		h->effects++;
		h->seq_last = slot->seq;
		if (!h->seq_first)
			h->seq_first = slot->seq;
	}
	return rec;
}

/* lemona_end(), inlined */
static __always_inline void lemona_stream_end(struct lemona_slot *slot)
{
	struct lemona_stream *s = slot->stream;
	u32 *used = &s->sub->relic.used;

	/* should the kernel crash, the host finds whole records up to here */
	barrier();
	WRITE_ONCE(*used, *used + slot->size);
	arch_spin_unlock(&s->lock);
	local_irq_restore(slot->flags);
}

#endif /* LEMONA_STREAM_H */
