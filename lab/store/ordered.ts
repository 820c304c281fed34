// SPDX-License-Identifier: MIT
/**
 * Records in order of time, out of sub-buffers in the order in which they were stored: those of one CPU are in order
 * among themselves, but one of a CPU that had little to say may come after later ones of others. The driver hands out
 * what it has every `flush_ms`, so a record waits until sub-buffers have come that begin SLACK_NS later. What waits at
 * the end of a segment is named by its places in the files, and can be read again.
 *
 * Effects come in the order of their numbers, even where the clocks of two CPUs say otherwise.
 */
import { AT, KIND, REC_SIZE_MASK, SIZE } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import type { StoredSubbuf } from '../trace/segment-reader.js';
import { SUBBUF_HEADER_BYTES } from '../trace/subbuf.js';
import { narrow, nearU64 } from './numbers.js';

/** Much more than a sub-buffer's way to the host takes; `flush_ms` is 50 unless told. */
const SLACK_NS = 1_000_000_000;
/** Sub-buffers that wait at most: a guest that writes more than this within the slack gets its rows a bit earlier. */
const WAITING_BYTES = 32 * 1024 * 1024;

const { EFFECT } = KIND;
const SEQ_AT: number = AT.lemona_effect.seq;
const DT_AT: number = AT.lemona_rec.dt;
const EFFECT_BYTES: number = SIZE.lemona_effect;

/** Bytes `from` to `length` of a sub-buffer at `offset` of a segment. */
export interface HeldPlace {
  readonly segment: number;
  readonly offset: number;
  readonly length: number;
  readonly from: number;
}

/** What times are counted from, so that they fit a double: those of a sub-buffer near the beginning. */
export interface TimeBases {
  readonly monoNs: bigint;
  readonly realNs: bigint;
}

/** A sub-buffer and the record in it that comes next. */
export class Cursor {
  readonly stored: StoredSubbuf;
  readonly bytes: Buffer;
  readonly cpu: number;
  /** Of the sub-buffer, ns since the merge's beginning. */
  readonly monoNs: number;
  /** Of the sub-buffer, ns since the store's time base. */
  readonly realNs: number | bigint;
  off: number;
  size = 0;
  kind = 0;
  /** Of the record. */
  monoAt = 0;
  /** Smallest number of an effect from here on; Infinity: there is none. */
  seq = Number.POSITIVE_INFINITY;
  #seqOff = -1;

  constructor(stored: StoredSubbuf, bases: TimeBases, from: number) {
    this.stored = stored;
    this.bytes = stored.bytes;
    this.cpu = stored.header.cpu;
    this.monoNs = Number(stored.header.monoNs - bases.monoNs);
    this.realNs = narrow(stored.header.realNs - bases.realNs);
    this.off = from;
    this.#load();
  }

  get isDone(): boolean {
    return this.off >= this.stored.header.length;
  }

  /** Wall clock of the record at `off`, ns since the store's time base. */
  realAt(off: number): number | bigint {
    const dt = this.bytes.readUInt32LE(off + DT_AT);
    return typeof this.realNs === 'number' ? this.realNs + dt : this.realNs + BigInt(dt);
  }

  step(): void {
    this.off += this.size;
    this.#load();
  }

  #load(): void {
    if (this.isDone) return;
    const word = this.bytes.readUInt32LE(this.off);
    this.size = word & REC_SIZE_MASK;
    this.kind = word >>> REC_KIND_SHIFT;
    this.monoAt = this.monoNs + this.bytes.readUInt32LE(this.off + DT_AT);
    if (this.#seqOff < this.off) this.#findEffect();
  }

  #findEffect(): void {
    this.seq = Number.POSITIVE_INFINITY;
    const { bytes } = this;
    const end = this.stored.header.length;
    this.#seqOff = end;
    for (let off = this.off; off < end; ) {
      const word = bytes.readUInt32LE(off);
      const size = word & REC_SIZE_MASK;
      if (word >>> REC_KIND_SHIFT === EFFECT && size >= EFFECT_BYTES) {
        this.#seqOff = off;
        this.seq = nearU64(bytes, off + SEQ_AT);
        return;
      }
      off += size;
    }
  }
}

export class TimeMerge {
  /** Of each CPU that something waits of, in the order in which they came. */
  #streams: Cursor[][] = [];
  readonly bases: TimeBases;
  #newestNs = Number.NEGATIVE_INFINITY;
  #waitingBytes = 0;

  constructor(bases: TimeBases) {
    this.bases = bases;
  }

  /** Beginning of the newest sub-buffer so far, ns of the monotonic clock. */
  get newest(): bigint | undefined {
    return Number.isFinite(this.#newestNs) ? this.bases.monoNs + BigInt(this.#newestNs) : undefined;
  }

  set newest(monoNs: bigint) {
    this.#newestNs = Number(monoNs - this.bases.monoNs);
  }

  /** Takes a sub-buffer whose records `surveySubbuf` found good. */
  add(stored: StoredSubbuf, from = SUBBUF_HEADER_BYTES): void {
    const cursor = new Cursor(stored, this.bases, from);
    if (cursor.isDone) return;
    const stream = this.#streams.find(([first]) => first?.cpu === cursor.cpu);
    if (stream) stream.push(cursor);
    else this.#streams.push([cursor]);
    this.#newestNs = Math.max(this.#newestNs, cursor.monoNs);
    this.#waitingBytes += stored.header.length;
  }

  /**
   * Where the next record is; undefined: it has to wait. Step the cursor with `advance` when the record is done.
   * @param isEnd nothing more comes
   */
  next(isEnd: boolean): Cursor | undefined {
    const streams = this.#streams;
    let best = streams[0]?.[0];
    for (let i = 1; i < streams.length; i++) {
      const cursor = streams[i]?.[0];
      if (cursor !== undefined && (best === undefined || cursor.monoAt < best.monoAt)) best = cursor;
    }
    if (best === undefined) return undefined;
    if (!isEnd && best.monoAt > this.#newestNs - SLACK_NS && this.#waitingBytes <= WAITING_BYTES) return undefined;
    if (best.kind !== EFFECT) return best;
    for (let i = 0; i < streams.length; i++) {
      const cursor = streams[i]?.[0];
      if (cursor !== undefined && cursor.seq < best.seq) best = cursor;
    }
    return best;
  }

  advance(cursor: Cursor): void {
    cursor.step();
    if (!cursor.isDone) return;
    this.#waitingBytes -= cursor.stored.header.length;
    this.#streams.find(([first]) => first === cursor)?.shift();
    this.#streams = this.#streams.filter((stream) => stream.length > 0);
  }

  /** What waits, in the order in which it came. */
  held(): HeldPlace[] {
    return this.#streams
      .flat()
      .map(({ stored, off }) => ({
        segment: stored.segment,
        offset: stored.offset,
        length: stored.header.length,
        from: off,
      }))
      .sort((a, b) => a.segment - b.segment || a.offset - b.offset);
  }
}
