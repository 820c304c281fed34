// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * The relay: the sink that a process reads, through /dev/lemona.
 */
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "lemona.h"
#include "pool.h"

DECLARE_WAIT_QUEUE_HEAD(lemona_readq);
static DECLARE_WAIT_QUEUE_HEAD(idleq);	/* whoever waits for an idle reader */

static DEFINE_RAW_SPINLOCK(idle_lock);	/* protects the next; interrupts off */
static bool idle;	/* the reader waits in read(), and runs no code */

static void relay_kick(struct lemona_sink *sink)
{
	wake_up_interruptible(&lemona_readq);
	if (lemona_pool_stopping())
		wake_up_all(&idleq);
}

static struct lemona_sink relay = { .kick = relay_kick };

int lemona_relay_init(void)
{
	return lemona_sink_add(&relay);
}

void lemona_relay_exit(void)
{
	lemona_sink_remove(&relay);
}

void lemona_relay_attach(bool attached)
{
	lemona_sink_attach(&relay, attached);
}

bool lemona_relay_readable(void)
{
	return lemona_sink_ready(&relay);
}

static void set_idle(bool value)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&idle_lock, flags);
	idle = value;
	raw_spin_unlock_irqrestore(&idle_lock, flags);
}

/**
 * lemona_relay_next - take the oldest sub-buffer that was not read
 * @sub: set to it
 * @nonblock: do not wait
 *
 * Return: 0, -EAGAIN, -ERESTARTSYS, or -EPIPE when the driver stops.
 */
int lemona_relay_next(struct lemona_sub **sub, bool nonblock)
{
	int error;

	for (;;) {
		*sub = lemona_sink_take(&relay);
		if (*sub)
			return 0;
		if (lemona_pool_stopping())
			return -EPIPE;
		if (nonblock)
			return -EAGAIN;
		set_idle(true);
		wake_up_all(&idleq);
		error = wait_event_interruptible(lemona_readq,
						 lemona_relay_readable());
		set_idle(false);
		if (error)
			return error;
	}
}

/**
 * lemona_when_idle - call @fn while the reader waits in read(), if there is one
 * @fn: called with interrupts off, and a lock held that keeps the reader there
 * @arg: for @fn
 *
 * Return: 0, -ERESTARTSYS, or -EPIPE when the driver stops; then @fn was not
 * called.
 */
int lemona_when_idle(void (*fn)(void *arg), void *arg)
{
	unsigned long flags;
	bool called;
	int error;

	if (!relay.bit) {
		local_irq_save(flags);
		fn(arg);
		local_irq_restore(flags);
		return 0;
	}
	do {
		error = wait_event_interruptible(idleq, READ_ONCE(idle) ||
						 lemona_pool_stopping());
		if (error)
			return error;
		raw_spin_lock_irqsave(&idle_lock, flags);
		called = idle;
		if (called)
			fn(arg);
		raw_spin_unlock_irqrestore(&idle_lock, flags);
		if (!called && lemona_pool_stopping())
			return -EPIPE;
	} while (!called);
	return 0;
}

/** lemona_relay_delivered - the reader has brought a sub-buffer to safety */
void lemona_relay_delivered(struct lemona_sub *sub)
{
	lemona_sink_release(&relay, sub);
}
