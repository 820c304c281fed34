// SPDX-License-Identifier: MIT
/**
 * Records of all CPUs in order of time. Within a stream they stay in the order in which they were written, so one
 * sub-buffer per CPU is in memory, whatever the guest says of its clocks: the stream's next one is opened when it is
 * used up, and not before its base time comes. Time is for people; where two effects have the same time, and only
 * then, their numbers decide.
 */
import { AT, KIND } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import type { EntryCursor, SubbufEntry } from './entry-list.js';
import { decodeRecord, recordOffsets, type TraceRecord } from './record.js';
import { type RunIndex, segmentsFolder } from './run-index.js';
import { SegmentAccess } from './segment-reader.js';
import { checkHeader, type SubbufHeader } from './subbuf.js';

/** One CPU's sub-buffers in file order. */
interface Stream {
  readonly entries: EntryCursor;
  /** The one to be opened next; undefined: there are no more. */
  next: SubbufEntry | undefined;
}

/** A sub-buffer that is open. */
interface Cursor {
  readonly stream: Stream;
  readonly header: SubbufHeader;
  readonly bytes: Buffer;
  readonly offsets: readonly number[];
  at: number;
  time: bigint;
  /** 0n: not an effect */
  seq: bigint;
}

async function streamsOf(index: RunIndex): Promise<Set<Stream>> {
  const streams = new Set<Stream>();
  for (const list of index.streams.values()) {
    const entries = list.all();
    streams.add({ entries, next: await entries.next() });
  }
  return streams;
}

/** Loads time and number of the record the cursor stands at. @returns false at the end */
function load(cursor: Cursor): boolean {
  const off = cursor.offsets[cursor.at];
  if (off === undefined) return false;
  cursor.time = cursor.header.monoNs + BigInt(cursor.bytes.readUInt32LE(off + AT.lemona_rec.dt));
  const isEffect = cursor.bytes.readUInt32LE(off) >>> REC_KIND_SHIFT === KIND.EFFECT;
  cursor.seq = isEffect ? cursor.bytes.readBigUInt64LE(off + AT.lemona_effect.seq) : 0n;
  return true;
}

function isBefore(a: Cursor, b: Cursor): boolean {
  if (a.time !== b.time) return a.time < b.time;
  if (a.seq !== 0n && b.seq !== 0n) return a.seq < b.seq;
  return a.header.cpu < b.header.cpu;
}

/** The stream whose next sub-buffer has the lowest base time; one that has no more is let go. */
function earliest(waiting: Set<Stream>): Stream | undefined {
  let best: Stream | undefined;
  let bestNs = 0n;
  for (const stream of waiting) {
    const entry = stream.next;
    if (entry === undefined) waiting.delete(stream);
    else if (best === undefined || entry.monoNs < bestNs) {
      best = stream;
      bestNs = entry.monoNs;
    }
  }
  return best;
}

/** Looks at a record's header only: is it worth decoding? */
export type RecordWish = (kind: number, code: number, flags: number) => boolean;

export interface TimelineOptions {
  /** Records it does not wish for are passed over without being decoded. */
  readonly wish?: RecordWish;
  readonly signal?: AbortSignal;
}

/** The records of a run in order of time. */
export async function* timeline(
  runDir: string,
  index: RunIndex,
  options: TimelineOptions = {},
): AsyncGenerator<TraceRecord, void, void> {
  const { wish, signal } = options;
  /** Streams without an open sub-buffer. */
  const waiting = await streamsOf(index);
  const access = new SegmentAccess(segmentsFolder(runDir));
  let open: Cursor[] = [];
  try {
    for (;;) {
      signal?.throwIfAborted();
      let first: Cursor | undefined;
      for (const cursor of open) if (first === undefined || isBefore(cursor, first)) first = cursor;
      const stream = earliest(waiting);
      const entry = stream?.next;
      if (stream && entry && (first === undefined || entry.monoNs <= first.time)) {
        const bytes = await access.read(entry);
        stream.next = await stream.entries.next();
        const check = checkHeader(bytes);
        if (!check.ok) continue;
        const { header } = check;
        const offsets = recordOffsets(bytes, header, wish);
        const cursor: Cursor = { stream, header, bytes, offsets, at: 0, time: 0n, seq: 0n };
        if (load(cursor)) {
          open.push(cursor);
          waiting.delete(stream);
        }
        continue;
      }
      if (first === undefined) return;
      const off = first.offsets[first.at];
      if (off !== undefined) yield decodeRecord(first.bytes, off, first.header);
      first.at++;
      const done = first;
      if (!load(done)) {
        open = open.filter((c) => c !== done);
        waiting.add(done.stream);
      }
    }
  } finally {
    await access.close();
  }
}
