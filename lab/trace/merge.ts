// SPDX-License-Identifier: MIT
/**
 * Effects of all CPUs in the one order that counts: ascending sequence numbers. Within a stream sub-buffers do not
 * overlap (the index leaves out those that do), so at any moment about one sub-buffer per CPU is in memory: one is
 * opened when its first number is not above the next number wanted, and left when it is used up.
 *
 * A number that nobody has is handed out as a gap, never skipped in silence.
 */
import { AT, KIND, REC_SIZE_MASK } from '../abi/layout.js';
import type { EntryCursor, SubbufEntry } from './entry-list.js';
import { type RunIndex, segmentsFolder } from './run-index.js';
import { SegmentAccess } from './segment-reader.js';
import { checkHeader, type SubbufHeader } from './subbuf.js';
import { walkRecords } from './walk.js';

/** One raw effect record, header included. */
export interface MergedEffect {
  readonly type: 'effect';
  readonly seq: bigint;
  /** A view of the sub-buffer: copy it if it must outlive the next step. */
  readonly buf: Buffer;
  readonly cpu: number;
  /** ns, monotonic clock of the guest. */
  readonly monoNs: bigint;
  /** ns since 1970, wall clock of the guest. */
  readonly realNs: bigint;
}

/** Numbers `first` to `last` are in no sub-buffer. */
export interface MergeGap {
  readonly type: 'gap';
  readonly first: bigint;
  readonly last: bigint;
}

/** A number that was there before; the record is not handed out again. */
export interface MergeDuplicate {
  readonly type: 'duplicate';
  readonly seq: bigint;
}

export interface MergeOptions {
  /** First number wanted; 1n unless told. Lower ones are passed over. */
  readonly from?: bigint;
  /** Last number wanted, included. */
  readonly to?: bigint;
  readonly signal?: AbortSignal;
}

/** A stream's sub-buffer that will be opened next. */
interface Waiting {
  readonly entries: EntryCursor;
  entry: SubbufEntry;
}

/** A sub-buffer that is open. */
interface Cursor {
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
  /** Offset of each effect, ascending by number. */
  readonly offsets: readonly number[];
  /** Index of the effect that comes next, and its number. */
  at: number;
  seq: bigint;
}

function seqAt(bytes: Buffer, off: number): bigint {
  return bytes.readBigUInt64LE(off + AT.lemona_effect.seq);
}

async function openCursor(access: SegmentAccess, entry: SubbufEntry): Promise<Cursor | undefined> {
  const bytes = await access.read(entry);
  const offsets: number[] = [];
  const check = checkHeader(bytes);
  if (!check.ok) return undefined;
  walkRecords(bytes, check.header, (_buf, off, _size, kind) => {
    if (kind === KIND.EFFECT) offsets.push(off);
  });
  if (!entry.isAscending) {
    offsets.sort((a, b) => {
      const [first, second] = [seqAt(bytes, a), seqAt(bytes, b)];
      return first < second ? -1 : first > second ? 1 : 0;
    });
  }
  return { header: check.header, bytes, offsets, at: 0, seq: seqAt(bytes, offsets[0] ?? 0) };
}

/** Each stream's first sub-buffer that holds number `from` or a later one. */
async function waitingFrom(index: RunIndex, from: bigint): Promise<Waiting[]> {
  const waiting: Waiting[] = [];
  for (const list of index.streams.values()) {
    const entries = list.effectsFrom(from);
    let entry = await entries.next();
    while (entry !== undefined && entry.seqLast < from) entry = await entries.next();
    if (entry !== undefined) waiting.push({ entries, entry });
  }
  return waiting;
}

/** The one that begins first. */
function firstOf(waiting: readonly Waiting[]): Waiting | undefined {
  let first: Waiting | undefined;
  for (const one of waiting) if (first === undefined || one.entry.seqFirst < first.entry.seqFirst) first = one;
  return first;
}

/**
 * Merges the effects of a run.
 *
 * @param index from `indexRun`
 * @yields effects and gaps in strictly ascending order; duplicates where they were met
 */
export async function* mergeEffects(
  runDir: string,
  index: RunIndex,
  options: MergeOptions = {},
): AsyncGenerator<MergedEffect | MergeGap | MergeDuplicate, void, void> {
  const from = options.from ?? 1n;
  let waiting = await waitingFrom(index, from);
  let upcoming = firstOf(waiting);
  const access = new SegmentAccess(segmentsFolder(runDir));
  let open: Cursor[] = [];
  let wanted = from;
  try {
    while (options.to === undefined || wanted <= options.to) {
      options.signal?.throwIfAborted();
      while (upcoming !== undefined && upcoming.entry.seqFirst <= wanted) {
        const opened = upcoming;
        const cursor = await openCursor(access, opened.entry);
        if (cursor !== undefined) open.push(cursor);
        const next = await opened.entries.next();
        if (next === undefined) waiting = waiting.filter((one) => one !== opened);
        else opened.entry = next;
        upcoming = firstOf(waiting);
      }
      const best = lowest(open);
      if (best === undefined) {
        if (upcoming === undefined) break;
        const { seqFirst } = upcoming.entry;
        const last = options.to !== undefined && seqFirst > options.to ? options.to : seqFirst - 1n;
        yield { type: 'gap', first: wanted, last };
        wanted = last + 1n;
        continue;
      }
      const { seq, bytes, header } = best;
      if (seq < wanted) {
        open = advance(open, best);
        if (seq >= from) yield { type: 'duplicate', seq };
        continue;
      }
      if (seq > wanted) {
        let next = upcoming !== undefined && upcoming.entry.seqFirst < seq ? upcoming.entry.seqFirst : seq;
        if (options.to !== undefined && next > options.to) next = options.to + 1n;
        yield { type: 'gap', first: wanted, last: next - 1n };
        wanted = next;
        continue;
      }
      const off = best.offsets[best.at] ?? 0;
      const dt = BigInt(bytes.readUInt32LE(off + AT.lemona_rec.dt));
      yield {
        type: 'effect',
        seq,
        buf: bytes.subarray(off, off + (bytes.readUInt32LE(off + AT.lemona_rec.size_kind) & REC_SIZE_MASK)),
        cpu: header.cpu,
        monoNs: header.monoNs + dt,
        realNs: header.realNs + dt,
      };
      open = advance(open, best);
      wanted = seq + 1n;
    }
  } finally {
    await access.close();
  }
}

/** Steps a cursor; one that is used up is let go. */
function advance(open: Cursor[], cursor: Cursor): Cursor[] {
  const off = cursor.offsets[++cursor.at];
  if (off === undefined) return open.filter((c) => c !== cursor);
  cursor.seq = seqAt(cursor.bytes, off);
  return open;
}

function lowest(open: readonly Cursor[]): Cursor | undefined {
  let best: Cursor | undefined;
  for (const cursor of open) if (best === undefined || cursor.seq < best.seq) best = cursor;
  return best;
}
