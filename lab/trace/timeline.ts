// SPDX-License-Identifier: MIT
/**
 * Records of all CPUs in order of time. Within a stream they stay in the order in which they were written, so one
 * sub-buffer per CPU is in memory, whatever the guest says of its clocks: the stream's next one is opened when it is
 * used up, and not before its base time comes. Time is for people; where two effects have the same time, and only
 * then, their numbers decide.
 */
import { AT, KIND } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { decodeRecord, recordOffsets, type TraceRecord } from './record.js';
import { type RunIndex, type SubbufEntry, segmentsFolder } from './run-index.js';
import { SegmentAccess } from './segment-reader.js';
import { checkHeader } from './subbuf.js';

/** One CPU's sub-buffers in file order. */
interface Stream {
  readonly entries: readonly SubbufEntry[];
  next: number;
}

function streamsOf(index: RunIndex): Stream[] {
  const streams = new Map<number, SubbufEntry[]>();
  for (const entry of index.entries) {
    const list = streams.get(entry.cpu);
    if (list) list.push(entry);
    else streams.set(entry.cpu, [entry]);
  }
  return [...streams.values()].map((entries) => ({ entries, next: 0 }));
}

interface Cursor {
  readonly stream: Stream;
  readonly entry: SubbufEntry;
  readonly bytes: Buffer;
  readonly offsets: readonly number[];
  at: number;
  time: bigint;
  /** 0n: not an effect */
  seq: bigint;
}

/** Loads time and number of the record the cursor stands at. @returns false at the end */
function load(cursor: Cursor): boolean {
  const off = cursor.offsets[cursor.at];
  if (off === undefined) return false;
  cursor.time = cursor.entry.monoNs + BigInt(cursor.bytes.readUInt32LE(off + AT.lemona_rec.dt));
  const isEffect = cursor.bytes.readUInt32LE(off) >>> REC_KIND_SHIFT === KIND.EFFECT;
  cursor.seq = isEffect ? cursor.bytes.readBigUInt64LE(off + AT.lemona_effect.seq) : 0n;
  return true;
}

function isBefore(a: Cursor, b: Cursor): boolean {
  if (a.time !== b.time) return a.time < b.time;
  if (a.seq !== 0n && b.seq !== 0n) return a.seq < b.seq;
  return a.entry.cpu < b.entry.cpu;
}

/** The stream whose next sub-buffer has the lowest base time; one that has no more is let go. */
function earliest(waiting: Set<Stream>): Stream | undefined {
  let best: Stream | undefined;
  let bestNs = 0n;
  for (const stream of waiting) {
    const entry = stream.entries[stream.next];
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
  const waiting = new Set(streamsOf(index));
  const access = new SegmentAccess(segmentsFolder(runDir));
  let open: Cursor[] = [];
  try {
    for (;;) {
      signal?.throwIfAborted();
      let first: Cursor | undefined;
      for (const cursor of open) if (first === undefined || isBefore(cursor, first)) first = cursor;
      const stream = earliest(waiting);
      const entry = stream?.entries[stream.next];
      if (stream && entry && (first === undefined || entry.monoNs <= first.time)) {
        stream.next++;
        const bytes = await access.read(entry);
        const check = checkHeader(bytes);
        const offsets = check.ok ? recordOffsets(bytes, check.header, wish) : [];
        const cursor: Cursor = { stream, entry, bytes, offsets, at: 0, time: 0n, seq: 0n };
        if (load(cursor)) {
          open.push(cursor);
          waiting.delete(stream);
        }
        continue;
      }
      if (first === undefined) return;
      const off = first.offsets[first.at];
      if (off !== undefined) yield decodeRecord(first.bytes, off, first.entry);
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
