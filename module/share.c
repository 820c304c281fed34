// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lossy mode: a process that floods the buffers must not cost another one its
 * records.
 *
 * Buffers are shared by dynamic thresholds, as in switches: a process may
 * record as long as what it recorded of late is less than what is free. So
 * however many flood, they leave room for one that does not. What was recorded
 * of late is halved each time the reader has taken as much as all buffers
 * hold. Effects get a greater share than the rest.
 *
 * Few sub-buffers can't be shared so finely: the last ones, one for each CPU,
 * and what is left of the open one are for those that recorded next to nothing.
 * How much that is shrinks with what is free, by the same rule.
 *
 * The table is read and written without a lock: its numbers decide who loses
 * records, not how losses are counted.
 */
#include <linux/hash.h>
#include <linux/sched.h>

#include "lemona.h"

#define SHARE_BITS	10
#define PROBES		8
#define MODEST		8	/* so little of what is free may come from the reserve */

static struct share {
	pid_t tgid;
	u32 turn;	/* of the halving that @bytes has seen */
	u64 bytes;
} shares[BIT(SHARE_BITS) + PROBES];

static struct share *get_share(pid_t tgid, u32 turn)
{
	struct share *s = &shares[hash_32(tgid, SHARE_BITS)];
	struct share *least = s;
	int i;

	for (i = 0; i < PROBES; i++, s++) {
		if (READ_ONCE(s->tgid) == tgid && s->turn)
			goto found;
		if (s->turn < least->turn ||
		    (s->turn == least->turn && s->bytes < least->bytes))
			least = s;
	}
	s = least;
	WRITE_ONCE(s->tgid, tgid);
	s->bytes = 0;
	s->turn = turn;
found:
	if (s->turn != turn) {
		s->bytes >>= min(turn - s->turn, 63U);
		s->turn = turn;
	}
	return s;
}

/**
 * lemona_has_share - may the current process record?
 * @size: bytes of the record; they count if it may
 * @free: bytes that are free
 * @spare: of these, what is not in reserve
 * @turn: how often the reader has taken as much as all buffers hold, from 1
 * @effect: it is an effect
 */
bool lemona_has_share(size_t size, u64 free, u64 spare, u32 turn, bool effect)
{
	struct share *s = get_share(current->tgid, turn);

	if (s->bytes > (effect ? spare : spare / 4) &&
	    s->bytes + size > free / MODEST)
		return false;
	s->bytes += size;
	return true;
}
