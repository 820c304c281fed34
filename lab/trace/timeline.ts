// SPDX-License-Identifier: MIT
/**
 * Records of all CPUs in order of time, with about one sub-buffer per CPU in memory: one is opened when its base
 * time is not above the earliest record at hand. Time is for people; where two effects have the same time, and only
 * then, their numbers decide.
 */
import { AT, KIND } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { decodeRecord, recordOffsets, type TraceRecord } from './record.js';
import { type RunIndex, type SubbufEntry, segmentsFolder } from './run-index.js';
import { SegmentAccess } from './segment-reader.js';
import { checkHeader } from './subbuf.js';

interface Cursor {
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
  const waiting = [...index.entries].sort((a, b) => (a.monoNs < b.monoNs ? -1 : a.monoNs > b.monoNs ? 1 : 0));
  const access = new SegmentAccess(segmentsFolder(runDir));
  let open: Cursor[] = [];
  let next = 0;
  try {
    for (;;) {
      signal?.throwIfAborted();
      let first: Cursor | undefined;
      for (const cursor of open) if (first === undefined || isBefore(cursor, first)) first = cursor;
      const entry = waiting[next];
      if (entry && (first === undefined || entry.monoNs <= first.time)) {
        next++;
        const bytes = await access.read(entry);
        const check = checkHeader(bytes);
        const offsets = check.ok ? recordOffsets(bytes, check.header, wish) : [];
        const cursor: Cursor = { entry, bytes, offsets, at: 0, time: 0n, seq: 0n };
        if (load(cursor)) open.push(cursor);
        continue;
      }
      if (first === undefined) return;
      const off = first.offsets[first.at];
      if (off !== undefined) yield decodeRecord(first.bytes, off, first.entry);
      first.at++;
      const done = first;
      if (!load(done)) open = open.filter((c) => c !== done);
    }
  } finally {
    await access.close();
  }
}
