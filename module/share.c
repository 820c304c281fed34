// SPDX-License-Identifier: GPL-2.0 OR MIT
/*
 * Lossy mode: a process that floods the buffers must not cost another one its
 * records.
 *
 * Buffers are shared by dynamic thresholds, as in switches: a process may
 * record as long as what it wanted to record of late is less than what is free.
 * What it was denied counts too: so a process that floods is known by what it
 * asks for, however little it gets, and however many there are. But it counts
 * for no more than a part of all buffers: up to there they are for everybody.
 * That part is smaller for effects, which are so denied later. What was wanted
 * of late is halved each time the reader has taken as much as all buffers hold.
 *
 * Few sub-buffers can't be shared so finely: the last ones, one for each CPU, are
 * for those that wanted less than half of these of late, each until it has as much
 * as is left. Of late is a matter of time here, not of turns: when the reader is
 * fast, many turns pass between two times that one of many processes runs. What a
 * process is like is not known when it begins: it may want a sixteenth of what is
 * free then, and more the longer it is there.
 *
 * The table is read and written without a lock: its numbers decide who loses
 * records, not how losses are counted.
 */
#include <linux/hash.h>
#include <linux/sched.h>

#include "lemona.h"
#include "pool.h"

#define SHARE_BITS	10
#define PROBES		8

/* A process is known after so many steps of time */
#define KNOWN		8
#define STEP		(HZ * 3 / 100)

/* What it wanted is halved so often, for the reserve */
#define HALF		(HZ / 2)

/* That part of a sub-buffer is nobody denied that is known to want little */
#define LITTLE		8

static struct share {
	pid_t tgid;
	u32 turn;	/* of the halving that @bytes has seen */
	u64 bytes;
	unsigned long born;	/* when it came, in jiffies */
	unsigned long halved;	/* when @lately was */
	u64 lately;
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
	s->bytes = 0;
	s->turn = turn;
	s->born = jiffies;
	s->halved = s->born;
	s->lately = 0;
	WRITE_ONCE(s->tgid, tgid);
found:
	if (s->turn != turn) {
		s->bytes >>= min(turn - s->turn, 63U);
		s->turn = turn;
	}
	return s;
}

/* Is what is in reserve for such a process? */
static bool is_modest(struct share *s, size_t size, u64 free, u64 reserve)
{
	unsigned long steps = 1 + (jiffies - s->born) / STEP;
	unsigned long halved = READ_ONCE(s->halved);
	/* another CPU may have been ahead */
	long halves = (long)(jiffies - halved) / HALF;

	if (halves > 0) {
		s->lately >>= min(halves, 63L);
		WRITE_ONCE(s->halved, halved + halves * HALF);
	}
	s->lately += size;
	return s->lately <= (steps < KNOWN ? free * steps / 16 : reserve / 2) &&
	       s->bytes <= max_t(u64, free, lemona_capacity / LITTLE);
}

/* A thread that records for others, and for whom just now */
static struct task_struct *clerk;
static pid_t client;

/**
 * lemona_charge - whose share the next records of a thread are
 * @task: one kernel thread, always the same; others are charged themselves
 * @tgid: a process
 */
void lemona_charge(struct task_struct *task, pid_t tgid)
{
	if (current != task)
		return;
	client = tgid;
	clerk = task;
}

/**
 * lemona_has_share - may the current process record?
 * @size: bytes of the record
 * @free: bytes that are free
 * @reserve: so many of these are in reserve
 * @most: what can be free beside them
 * @turn: how often the reader has taken as much as all buffers hold, from 1
 * @effect: it is an effect
 */
bool lemona_has_share(size_t size, u64 free, u64 reserve, u64 most, u32 turn,
		      bool effect)
{
	pid_t tgid = current == READ_ONCE(clerk) ? client : current->tgid;
	struct share *s = get_share(tgid, turn);
	u64 bytes = s->bytes;

	s->bytes = bytes + size;
	return is_modest(s, size, free, reserve) ||
	       min(bytes, effect ? most / 4 : most / 2) <=
	       free - min(free, reserve);
}
