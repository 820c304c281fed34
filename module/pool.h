/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* Sub-buffers between whoever writes them and whoever takes them. */
#ifndef LEMONA_POOL_H
#define LEMONA_POOL_H

#include <linux/list.h>
#include <linux/types.h>

#include "lemona_abi.h"
#include "lemona_wire.h"

/**
 * struct lemona_sub - a sub-buffer
 * @list: in the pool's list of free or of closed ones
 * @order: how many were closed before it
 * @sealed: its checksum is there
 * @data: lemona_capacity bytes
 * @relic: what a host finds it by if the kernel crashes; also its state, the
 *	sinks that are still to have it, and what of it are whole records
 * @pfn: the page frames of @data
 */
struct lemona_sub {
	struct list_head list;
	u64 order;
	bool sealed;
	struct lemona_subbuf *data;
	struct lemona_relic relic;
	u64 pfn[];
};

/**
 * struct lemona_sink - somebody who is to have sub-buffers
 * @kick: there is something to take. Called with interrupts off
 * @wants: is it to have those of this CPU? Likewise. NULL: of every CPU
 * @bit: its bit in lemona_sub.owed
 * @next: the oldest sub-buffer it has not taken, or NULL
 * @queued: sub-buffers that are owed to it
 * @attached: it is there; writers wait for no sink that is not
 * @removed: nothing is owed to it any more
 *
 * All but @kick and @wants are the pool's.
 */
struct lemona_sink {
	void (*kick)(struct lemona_sink *sink);
	bool (*wants)(const struct lemona_sink *sink, u32 cpu);
	u32 bit;
	struct lemona_sub *next;
	unsigned int queued;
	bool attached;
	bool removed;
};

extern u32 lemona_capacity;

int lemona_pool_init(void);
void lemona_pool_stop(void);
void lemona_pool_sync(void);
void lemona_pool_exit(void);
unsigned int lemona_pool_nr_free(void);
unsigned int lemona_pool_nr_total(void);
u32 lemona_pool_turn(void);
bool lemona_pool_stopping(void);
void lemona_pool_stats(struct lemona_stats *stats);
u64 lemona_pool_closed(void);
u64 lemona_pool_made(u32 cpu);
int lemona_pool_wait(u64 closed);
bool lemona_pool_wait_free(long timeout);

/* for whoever writes; interrupts are off */
struct lemona_sub *lemona_pool_get(void);
void lemona_pool_put(struct lemona_sub *sub);
void lemona_sub_free(struct lemona_sub *sub);

/* for sinks */
int lemona_sink_add(struct lemona_sink *sink);
void lemona_sinks_end(u32 bits);
void lemona_sink_attach(struct lemona_sink *sink, bool attached);
bool lemona_sink_ready(const struct lemona_sink *sink);
void lemona_sink_remove(struct lemona_sink *sink);
void lemona_sink_rewind(struct lemona_sink *sink);
struct lemona_sub *lemona_sink_take(struct lemona_sink *sink);
void lemona_sink_release(struct lemona_sink *sink, struct lemona_sub *sub);
void lemona_sink_release_stream(struct lemona_sink *sink, u32 cpu, u64 number,
				u64 order);

#endif /* LEMONA_POOL_H */
