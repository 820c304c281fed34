/* SPDX-License-Identifier: MIT */
/*
 * What the host and lemona-replay say to each other over the port lemona.plan.
 *
 * host -> agent: a stream of records. Effects are the recorded bytes, in
 * order of seq; a MARK is among them where the file system to rebuild was
 * frozen. Between them stand control records: an ordinary record
 * header (struct lemona_rec) of kind CONTROL_KIND, which no recording holds,
 * with one of the codes below, and a body.
 *
 *   BEGIN   struct control_begin, then mount options as text. Comes first,
 *           once: mounts the disk, without those options that need a
 *           journal if it has none.
 *   BATCH   struct control_batch: the next effects are on the plan disk, a
 *           ring that the host fills. A port moves 4 KiB at a time, a disk
 *           megabytes. Answered by {"t":"taken"} once they are read, so that
 *           the host may write there again.
 *   LOST    struct control_lost: effects were lost from here on that were
 *           about this inode. Comes before the effects that follow them.
 *   STOP    struct control_stop. Completes the file system as of the last
 *           effect, freezes it and answers {"t":"stopped"}. The disk then
 *           holds exactly that instant, unless something waits (below), and
 *           the host may read it.
 *   RESUME  struct control_stop with the same id: thaws.
 *   END     no body: completes the file system, unmounts it, answers
 *           {"t":"result"} and powers off.
 *
 * agent -> host: JSON, one object a line, "t" first: ready, taken, progress,
 * doubt, waiting, stopped, mismatch, result, fatal.
 *
 * {"t":"waiting"} comes before stopped or result, midway only: the disk does
 * not hold the instant: the effects from the number "from" on, which needs the
 * inode "ino", wait for its birth, which has a later number. All before them is
 * there, and of those behind it content and times of files that none of them is
 * about.
 */
#ifndef LEMONA_REPLAY_CONTROL_H
#define LEMONA_REPLAY_CONTROL_H

#include "lemona_abi.h"

#define CONTROL_KIND 63

#define CONTROL_BEGIN 1
#define CONTROL_STOP 2
#define CONTROL_RESUME 3
#define CONTROL_END 4
#define CONTROL_BATCH 5
#define CONTROL_LOST 6

/* control_begin.flags */
#define BEGIN_CONTINUE 1 /* count mismatches and go on */
#define BEGIN_STRICT 2 /* compare names and attributes after every operation */
#define BEGIN_TIMES_UTIMENS 4 /* test lane only: atime and mtime by utimensat() */
#define BEGIN_MIDWAY 8 /* the last effect may be any: births may come after it */

struct control_begin {
	struct lemona_rec h;
	__u32 dev; /* effects of another device are skipped */
	__u32 flags; /* BEGIN_* */
	__u32 options_len; /* bytes of mount options that follow */
	__u32 pad;
	char options[];
};

static_assert(sizeof(struct control_begin) == 32);

/* control_stop.flags */
#define STOP_LEAN 1 /* let the page cache go: the VM's memory is about to be saved */

struct control_stop {
	struct lemona_rec h;
	__u64 id; /* comes back in the answer */
	__u32 flags; /* STOP_* */
	__u32 pad;
};

static_assert(sizeof(struct control_stop) == 32);

/* Largest batch. Whole records only: the largest record is as large as the largest sub-buffer. */
#define BATCH_MAX (1u << 20)
/* Offsets on the plan disk are multiples of this, as direct reads want. */
#define BATCH_ALIGN 4096

struct control_batch {
	struct lemona_rec h;
	__u64 offset; /* on the plan disk */
	__u32 len; /* bytes of records */
	__u32 pad;
};

static_assert(sizeof(struct control_batch) == 32);

/* Said by the agent only: not some bytes of the content, but all. */
#define DOUBT_WHOLE 0x40

struct control_lost {
	struct lemona_rec h;
	__u64 ino; /* 0: every inode */
	__u32 gen;
	__u32 what; /* LEMONA_LOST_* */
};

static_assert(sizeof(struct control_lost) == 32);

#endif /* LEMONA_REPLAY_CONTROL_H */
