// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The pool of sub-buffers, and the queue of the closed ones.
 *
 * A closed sub-buffer is owed to every sink that wants it: the relay, servers.
 * Each takes them in the order in which they were closed, at its own pace, and
 * releases them when they are safe; the last release gives the sub-buffer back
 * to the pool.
 *
 * Nothing is lost in lossless mode because there are two limits. Where waiting
 * is legal (lemona_wait_for_space()) a task waits while more than pool_mb is
 * closed and not released. Elsewhere lemona_prepare(), which may sleep but
 * never waits for a sink, adds sub-buffers to the pool as needed.
 */
#include <linux/crc32c.h>
#include <linux/io.h>
#include <linux/irq_work.h>
#include <linux/kthread.h>
#include <linux/math64.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/spinlock.h>
#include <linux/vmalloc.h>
#include <linux/wait.h>

#include "lemona.h"
#include "pool.h"

#define SINKS_MAX	8

u32 lemona_capacity;

static struct {
	raw_spinlock_t lock;	/* protects the lists, counts and sinks */
	struct list_head free;
	struct list_head full;
	unsigned int nr_free;
	unsigned int nr_full;
	unsigned int nr_total;
	unsigned int reserve;	/* lemona_prepare() keeps so many free */
	unsigned int limit;	/* writers wait above so many full */
	unsigned int early;	/* the pool's bound before all sinks are there */
	u64 closed;		/* ever queued for the sinks */
	u64 *made;		/* by CPU: of those, before any sink ended */
	u64 released;		/* of those, given back by all */
	u32 turn;		/* times a whole pool was given back, from 1 */
	struct lemona_sink *sinks[SINKS_MAX];
	unsigned int nr_sinks;
	u32 ended;		/* bits of the sinks that get no more */
	bool attached;		/* all sinks are */
	bool stopping;
} pool = {
	.lock = __RAW_SPIN_LOCK_UNLOCKED(pool.lock),
	.free = LIST_HEAD_INIT(pool.free),
	.full = LIST_HEAD_INIT(pool.full),
	.turn = 1,
};

unsigned int lemona_pool_wants;

static atomic64_t throttled;

/* Serialises the making of checksums: several sinks may want the same one */
static DEFINE_MUTEX(seal_lock);

static DECLARE_WAIT_QUEUE_HEAD(spaceq);	/* writers, and whoever drains */

static struct task_struct *ticker;

static void kick_sinks(struct irq_work *work)
{
	unsigned int i;

	for (i = 0; i < pool.nr_sinks; i++)
		pool.sinks[i]->kick(pool.sinks[i]);
}

static DEFINE_IRQ_WORK(kick_work, kick_sinks);

static struct lemona_sub *sub_alloc(gfp_t gfp)
{
	u32 pages = lemona_capacity / PAGE_SIZE;
	struct lemona_sub *sub;
	u32 i;

	sub = kzalloc(struct_size(sub, pfn, pages), gfp);
	if (!sub)
		return NULL;
	sub->data = __vmalloc(lemona_capacity, gfp);
	if (!sub->data) {
		kfree(sub);
		return NULL;
	}
	memcpy(sub->relic.magic, LEMONA_RELIC_MAGIC, sizeof(sub->relic.magic));
	sub->relic.self = virt_to_phys(&sub->relic);
	sub->relic.boot_id = lemona_boot_id;
	sub->relic.pages = pages;
	for (i = 0; i < pages; i++)
		sub->pfn[i] = vmalloc_to_pfn((void *)sub->data + i * PAGE_SIZE);
	return sub;
}

void lemona_sub_free(struct lemona_sub *sub)
{
	vfree(sub->data);
	/* nobody is to find it in free memory */
	memzero_explicit(&sub->relic, sizeof(sub->relic));
	kfree(sub);
}

/* Something that it depends on has changed. Pool locked. */
static void set_wants(void)
{
	unsigned int wants = 0;

	if (pool.nr_free < pool.reserve)
		wants |= LEMONA_WANTS_MEMORY;
	if (pool.nr_full > pool.limit && pool.attached && !pool.stopping)
		wants |= LEMONA_WANTS_TIME;
	WRITE_ONCE(lemona_pool_wants, lemona_lossy ? 0 : wants);
}

/* Pool locked */
static void add_free(struct lemona_sub *sub)
{
	sub->relic.state = LEMONA_RELIC_FREE;
	list_add(&sub->list, &pool.free);
	pool.nr_free++;
}

static void pool_add(struct lemona_sub *sub)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	add_free(sub);
	pool.nr_total++;
	set_wants();
	raw_spin_unlock_irqrestore(&pool.lock, flags);
}

/** lemona_pool_grow - lemona_prepare() if it has something to do */
void lemona_pool_grow(void)
{
	while (READ_ONCE(lemona_pool_wants) & LEMONA_WANTS_MEMORY) {
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

/**
 * lemona_pool_get - take a free sub-buffer
 *
 * Return: it, or NULL if there is none.
 */
struct lemona_sub *lemona_pool_get(void)
{
	struct lemona_sub *sub;

	raw_spin_lock(&pool.lock);
	sub = list_first_entry_or_null(&pool.free, struct lemona_sub, list);
	if (sub) {
		list_del(&sub->list);
		pool.nr_free--;
		set_wants();
	}
	raw_spin_unlock(&pool.lock);
	return sub;
}

/* Nothing that is closed from now on is owed to it */
static bool has_ended(const struct lemona_sink *sink)
{
	return READ_ONCE(sink->removed) || READ_ONCE(pool.ended) & sink->bit;
}

/**
 * lemona_pool_put - queue a closed sub-buffer for all sinks
 * @sub: from lemona_pool_get(), complete but for its checksum
 */
void lemona_pool_put(struct lemona_sub *sub)
{
	u32 cpu = sub->data->cpu;
	unsigned int i;

	raw_spin_lock(&pool.lock);
	sub->sealed = false;
	sub->relic.state = LEMONA_RELIC_CLOSED;
	sub->order = pool.closed++;
	if (!pool.ended)
		WRITE_ONCE(pool.made[cpu], sub->data->number + 1);
	sub->relic.owed = 0;
	for (i = 0; i < pool.nr_sinks; i++) {
		if (has_ended(pool.sinks[i]) ||
		    (pool.sinks[i]->wants &&
		     !pool.sinks[i]->wants(pool.sinks[i], cpu)))
			continue;
		sub->relic.owed |= pool.sinks[i]->bit;
		pool.sinks[i]->queued++;
		if (!pool.sinks[i]->next)
			pool.sinks[i]->next = sub;
	}
	if (sub->relic.owed) {
		list_add_tail(&sub->list, &pool.full);
		pool.nr_full++;
	} else {
		add_free(sub);
	}
	set_wants();
	raw_spin_unlock(&pool.lock);
	irq_work_queue(&kick_work);
}

/** lemona_pool_throttle - lemona_wait_for_space() if there is too little */
void lemona_pool_throttle(void)
{
	if ((current->flags & PF_KTHREAD) ||
	    !test_task_syscall_work(current, LEMONA))
		return;
	atomic64_inc(&throttled);
	wait_event_killable(spaceq, !(READ_ONCE(lemona_pool_wants) &
				      LEMONA_WANTS_TIME));
}

/* Does a sink wait for more? Others may be slow, or away. */
static bool any_idle(void)
{
	unsigned int i;

	for (i = 0; i < pool.nr_sinks; i++) {
		if (!has_ended(pool.sinks[i]) &&
		    !lemona_sink_ready(pool.sinks[i]))
			return true;
	}
	return false;
}

/*
 * Keep the sinks and the pool supplied. Where all have enough to do, or much is
 * queued for one, there are no half-full sub-buffers: they would use up the pool
 * while the scheduler, which can't call lemona_prepare(), needs it.
 */
static void tick(void)
{
	lemona_prepare();
	if (READ_ONCE(pool.nr_full) <= max(pool.limit / 4, 1U) && any_idle())
		lemona_push(true);
}

/* Captures nothing, and so waits for no disk. */
static int ticker_fn(void *unused)
{
	while (!kthread_should_stop()) {
		unsigned int ms = max(lemona_flush_ms, 1U);

		schedule_timeout_interruptible(msecs_to_jiffies(ms));
		tick();
	}
	return 0;
}

int lemona_ticker_start(void)
{
	ticker = kthread_run(ticker_fn, NULL, "lemona_tick");
	return PTR_ERR_OR_ZERO(ticker);
}

void lemona_ticker_stop(void)
{
	kthread_stop(ticker);
}

static bool released_all_before(u64 closed)
{
	struct lemona_sub *oldest;
	unsigned long flags;
	bool ret;

	raw_spin_lock_irqsave(&pool.lock, flags);
	oldest = list_first_entry_or_null(&pool.full, struct lemona_sub, list);
	ret = !oldest || oldest->order >= closed;
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	return ret;
}

/** lemona_pool_closed - how many sub-buffers were ever queued for the sinks */
u64 lemona_pool_closed(void)
{
	return READ_ONCE(pool.closed);
}

/**
 * lemona_pool_made - how many sub-buffers of a stream there are for the servers
 * @cpu: the stream
 */
u64 lemona_pool_made(u32 cpu)
{
	return READ_ONCE(pool.made[cpu]);
}

/**
 * lemona_pool_wait - wait until sub-buffers are released by all sinks
 * @closed: those that were closed before this many were
 *
 * Return: 0, also when the driver stops, or -ERESTARTSYS.
 */
int lemona_pool_wait(u64 closed)
{
	return wait_event_interruptible(spaceq, released_all_before(closed) ||
					READ_ONCE(pool.stopping));
}

/**
 * lemona_pool_wait_free - wait until there is a free sub-buffer
 * @timeout: at most so many jiffies
 *
 * Return: whether there is one.
 */
bool lemona_pool_wait_free(long timeout)
{
	return wait_event_timeout(spaceq, READ_ONCE(pool.nr_free), timeout);
}

unsigned int lemona_pool_nr_free(void)
{
	return READ_ONCE(pool.nr_free);
}

unsigned int lemona_pool_nr_total(void)
{
	return READ_ONCE(pool.nr_total);
}

u32 lemona_pool_turn(void)
{
	return READ_ONCE(pool.turn);
}

bool lemona_pool_stopping(void)
{
	return READ_ONCE(pool.stopping);
}

void lemona_pool_stats(struct lemona_stats *stats)
{
	stats->subbufs = pool.released;
	stats->pool_bytes = (u64)pool.nr_total * lemona_capacity;
	stats->throttled = atomic64_read(&throttled);
}

/**
 * lemona_sink_add - from now on a sink is to have sub-buffers
 * @sink: its kick is set, and perhaps wants; all else zero
 *
 * Before anything is recorded. Return: 0, or -ENOSPC.
 */
int lemona_sink_add(struct lemona_sink *sink)
{
	if (pool.nr_sinks == SINKS_MAX)
		return -ENOSPC;
	sink->bit = BIT(pool.nr_sinks);
	pool.sinks[pool.nr_sinks++] = sink;
	return 0;
}

/**
 * lemona_sink_attach - a sink has come or gone
 * @sink: it
 * @attached: it has come
 */
void lemona_sink_attach(struct lemona_sink *sink, bool attached)
{
	unsigned long flags;
	bool all = true;
	unsigned int i;

	raw_spin_lock_irqsave(&pool.lock, flags);
	sink->attached = attached;
	for (i = 0; i < pool.nr_sinks; i++)
		all = all && (pool.sinks[i]->attached ||
			      pool.sinks[i]->removed);
	WRITE_ONCE(pool.attached, all);
	set_wants();
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	wake_up_all(&spaceq);
}

/**
 * lemona_sinks_end - from now on some sinks get no more
 * @bits: theirs
 *
 * All at one place in the order of sub-buffers. What is queued they still get.
 */
void lemona_sinks_end(u32 bits)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	WRITE_ONCE(pool.ended, pool.ended | bits);
	raw_spin_unlock_irqrestore(&pool.lock, flags);
}

/** lemona_sink_ready - is there something to take, or does the driver stop? */
bool lemona_sink_ready(const struct lemona_sink *sink)
{
	return READ_ONCE(sink->next) || READ_ONCE(pool.stopping);
}

static struct lemona_sub *next_owed(struct lemona_sink *sink,
				    struct lemona_sub *sub)
{
	list_for_each_entry_continue(sub, &pool.full, list) {
		if (sub->relic.owed & sink->bit)
			return sub;
	}
	return NULL;
}

static void seal(struct lemona_sub *sub)
{
	struct lemona_subbuf *h = sub->data;

	mutex_lock(&seal_lock);
	if (!sub->sealed) {
		h->crc32c = 0;
		h->crc32c = ~crc32c(~0U, h, h->length);
		sub->sealed = true;
	}
	mutex_unlock(&seal_lock);
}

/**
 * lemona_sink_take - take the oldest sub-buffer that a sink has not taken
 * @sink: it
 *
 * Return: the sub-buffer with its checksum, or NULL if there is none now.
 */
struct lemona_sub *lemona_sink_take(struct lemona_sink *sink)
{
	struct lemona_sub *sub;
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	sub = sink->next;
	if (sub)
		WRITE_ONCE(sink->next, next_owed(sink, sub));
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	if (sub)
		seal(sub);
	return sub;
}

/* A sink needs a sub-buffer no more. Queue locked; @surplus takes memory. */
static void release(struct lemona_sink *sink, struct lemona_sub *sub,
		    struct list_head *surplus)
{
	if (sink->next == sub)
		WRITE_ONCE(sink->next, next_owed(sink, sub));
	sink->queued--;
	sub->relic.owed &= ~sink->bit;
	if (sub->relic.owed)
		return;
	list_del(&sub->list);
	pool.nr_full--;
	pool.released++;
	pool.turn = 1 + div_u64(pool.released, max(pool.nr_total, 1U));
	if (pool.nr_total > pool.limit + pool.reserve &&
	    pool.nr_free > pool.reserve) {
		pool.nr_total--;
		list_add(&sub->list, surplus);
	} else {
		add_free(sub);
	}
	set_wants();
}

static void pool_empty(struct list_head *list)
{
	struct lemona_sub *sub, *next;

	list_for_each_entry_safe(sub, next, list, list)
		lemona_sub_free(sub);
}

/**
 * lemona_sink_release - a sink has brought a sub-buffer to safety
 * @sink: it
 * @sub: from lemona_sink_take()
 */
void lemona_sink_release(struct lemona_sink *sink, struct lemona_sub *sub)
{
	unsigned long flags;
	LIST_HEAD(surplus);

	raw_spin_lock_irqsave(&pool.lock, flags);
	release(sink, sub, &surplus);
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	pool_empty(&surplus);
	wake_up_all(&spaceq);
}

/**
 * lemona_sink_release_stream - a sink has brought the start of a stream to safety
 * @sink: it
 * @cpu: the stream
 * @number: the sub-buffers of a smaller number
 * @order: of those, the ones that were closed before so many
 */
void lemona_sink_release_stream(struct lemona_sink *sink, u32 cpu, u64 number,
				u64 order)
{
	struct lemona_sub *sub, *next;
	unsigned long flags;
	LIST_HEAD(surplus);

	raw_spin_lock_irqsave(&pool.lock, flags);
	list_for_each_entry_safe(sub, next, &pool.full, list) {
		if (sub->order >= order)
			break;
		if (sub->relic.owed & sink->bit && sub->data->cpu == cpu &&
		    sub->data->number < number)
			release(sink, sub, &surplus);
	}
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	pool_empty(&surplus);
	wake_up_all(&spaceq);
}

/**
 * lemona_sink_rewind - let a sink take again all that it did not release
 * @sink: it
 */
void lemona_sink_rewind(struct lemona_sink *sink)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	WRITE_ONCE(sink->next, next_owed(sink, list_entry(&pool.full,
							  struct lemona_sub,
							  list)));
	raw_spin_unlock_irqrestore(&pool.lock, flags);
}

/**
 * lemona_sink_remove - owe nothing to a sink any more
 * @sink: it; it does not take any more
 */
void lemona_sink_remove(struct lemona_sink *sink)
{
	struct lemona_sub *sub, *next;
	unsigned long flags;
	LIST_HEAD(surplus);

	raw_spin_lock_irqsave(&pool.lock, flags);
	WRITE_ONCE(sink->removed, true);
	list_for_each_entry_safe(sub, next, &pool.full, list) {
		if (sub->relic.owed & sink->bit)
			release(sink, sub, &surplus);
	}
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	pool_empty(&surplus);
	lemona_sink_attach(sink, false);
}

int lemona_pool_init(void)
{
	unsigned int i;

	/* without losses there must be room for the largest effect */
	lemona_capacity = clamp(lemona_subbuf_kb, lemona_lossy ? 64U : 96U,
				1024U) * 1024;
	/* a relic lists whole pages */
	lemona_capacity = round_down(lemona_capacity, PAGE_SIZE);
	/*
	 * One to open and one to spare for each CPU, for the scheduler's hook;
	 * in lossy mode one more, since those to spare are not for everybody.
	 */
	pool.reserve = (lemona_lossy ? 3 : 2) * num_possible_cpus() + 2;
	pool.limit = (u64)lemona_pool_mb * SZ_1M / lemona_capacity;
	pool.early = (u64)lemona_early_mb * SZ_1M / lemona_capacity +
		     pool.reserve;

	pool.made = kcalloc(nr_cpu_ids, sizeof(*pool.made), GFP_KERNEL);
	if (!pool.made)
		return -ENOMEM;
	/* in lossy mode the pool has its full size at once */
	for (i = 0; i < pool.reserve + (lemona_lossy ? pool.limit : 0); i++) {
		struct lemona_sub *sub = sub_alloc(GFP_KERNEL);

		if (!sub) {
			pool_empty(&pool.free);
			kfree(pool.made);
			return -ENOMEM;
		}
		pool_add(sub);
	}
	return 0;
}

/** lemona_pool_stop - let nobody wait any more */
void lemona_pool_stop(void)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&pool.lock, flags);
	WRITE_ONCE(pool.stopping, true);
	set_wants();
	raw_spin_unlock_irqrestore(&pool.lock, flags);
	wake_up_all(&spaceq);
	irq_work_queue(&kick_work);
}

/** lemona_pool_sync - wait until no sink is being kicked */
void lemona_pool_sync(void)
{
	irq_work_sync(&kick_work);
}

void lemona_pool_exit(void)
{
	lemona_pool_sync();
	pool_empty(&pool.full);
	pool_empty(&pool.free);
	kfree(pool.made);
}
