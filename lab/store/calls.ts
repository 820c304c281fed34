// SPDX-License-Identifier: MIT
/** System calls, a row for each with what it returned, and all other events. */
import { AT, FLAG, SIZE } from '../abi/layout.js';
import type { TraceRecord } from '../trace/record.js';
import { type Address, wordsOf } from './captures.js';
import type { Place } from './loader.js';
import { narrow, readSigned, signed } from './numbers.js';
import type { Process } from './processes.js';
import { Batch, type Store, type TextRef, type Value } from './store.js';
import type { Texts } from './texts.js';

const REC_BYTES: number = SIZE.lemona_rec;
const EXIT_BYTES: number = SIZE.lemona_exit;
const ARGS_MAX = 6;
/** Calls under way that are remembered: one for each thread. */
const KEPT = 100_000;
/** Where these stand in a row of `events`. */
const [DURATION, RESULT, TEXT] = [2, 7, 8] as const;

interface OpenCall {
  readonly event: number;
  /** Where its row begins in the batch that is collected, if it is in that one. */
  readonly at: number;
  readonly batch: number;
  readonly monoAt: number;
  readonly args: TextRef | null;
  hasText: boolean;
}

export class Calls {
  readonly #trace: number;
  readonly #texts: Texts;
  readonly #events = new Batch('events');
  readonly #late = new Batch('events', ['id', 'duration_ns', 'result']);
  readonly #lateTexts = new Batch('events', ['id', 'text']);
  readonly #sockets = new Batch('sockets');
  readonly #open = new Map<number, OpenCall>();
  #nextEvent: number;
  #nextSocket: number;
  /** Counts the batches of events. */
  #batch = 0;

  constructor(trace: number, texts: Texts, nextEvent: number, nextSocket: number) {
    this.#trace = trace;
    this.#texts = texts;
    this.#nextEvent = nextEvent;
    this.#nextSocket = nextSocket;
  }

  async restore(store: Store, monoBase: bigint): Promise<void> {
    const rows = await store.select(
      `SELECT o.event, o.tid, CAST(o.entered_mono AS text) AS entered, t.text AS args, e.text AS words
 FROM open_calls o JOIN events e ON e.id = o.event LEFT JOIN texts t ON t.id = o.args
 WHERE o.trace = {int 1} ORDER BY o.event`,
      [this.#trace],
    );
    for (const { event, tid, entered, args, words } of rows) {
      this.#open.set(Number(tid), {
        event: Number(event),
        at: 0,
        batch: -1,
        monoAt: Number(BigInt(entered ?? 0) - monoBase),
        args: args == null ? null : this.#texts.ofText(args),
        hasText: words !== null,
      });
    }
  }

  /** Writes the calls that are under way. */
  async checkpoint(store: Store, monoBase: bigint): Promise<void> {
    const open = new Batch('open_calls');
    for (const [tid, call] of this.#open) {
      open.values.push(call.event, this.#trace, tid, narrow(BigInt(call.monoAt) + monoBase), call.args);
    }
    await store.clearOpenCalls(this.#trace);
    await store.insert(open);
  }

  /** Any event; its number. */
  event(
    { cursor, realAt }: Place,
    what: number,
    process: Process,
    tid: number,
    result: Value,
    text: TextRef | null,
    args: readonly Value[],
  ): number {
    const id = this.#nextEvent++;
    const { values } = this.#events;
    values.push(id, realAt, null, what, process.id, tid, cursor.cpu, result, text);
    for (let i = 0; i < ARGS_MAX; i++) values.push(args[i] ?? null);
    return id;
  }

  entered(place: Place, what: number, process: Process, tid: number, flags: number): void {
    const { cursor, off, realAt, monoAt } = place;
    const buf = cursor.bytes;
    const end = off + place.size;
    let count = (flags & FLAG.F_NARGS_MASK) >> FLAG.F_NARGS_SHIFT;
    if (count > ARGS_MAX || off + REC_BYTES + 8 * count > end) count = 0;
    const words = wordsOf(buf, off + REC_BYTES + 8 * count, end, this.#texts);
    const id = this.#nextEvent++;
    const { values } = this.#events;
    const at = values.length;
    values.push(id, realAt, null, what, process.id, tid, cursor.cpu, null, words.text);
    for (let i = 0; i < ARGS_MAX; i++) values.push(i < count ? readSigned(buf, off + REC_BYTES + 8 * i) : null);
    this.#addresses(words.addresses, id, realAt, process);
    if (this.#open.size >= KEPT) for (const oldest of [...this.#open.keys()].slice(0, 1)) this.#open.delete(oldest);
    this.#open.set(tid, { event: id, at, batch: this.#batch, monoAt, args: words.args, hasText: words.text !== null });
  }

  returned(place: Place, what: number, process: Process, tid: number): void {
    const { cursor, off, size, realAt, monoAt } = place;
    const buf = cursor.bytes;
    const result = size >= EXIT_BYTES ? readSigned(buf, off + AT.lemona_exit.ret) : null;
    const words = wordsOf(buf, off + EXIT_BYTES, off + size, this.#texts);
    const call = this.#open.get(tid);
    if (call === undefined) {
      const id = this.event(place, what, process, tid, result, words.text, []);
      this.#addresses(words.addresses, id, realAt, process);
      return;
    }
    this.#open.delete(tid);
    const duration = monoAt - call.monoAt;
    const isNews = words.text !== null && !call.hasText;
    if (call.batch === this.#batch) {
      const { values } = this.#events;
      values[call.at + DURATION] = duration;
      values[call.at + RESULT] = result;
      if (isNews) values[call.at + TEXT] = words.text;
    } else {
      this.#late.values.push(call.event, duration, result);
      if (isNews) this.#lateTexts.values.push(call.event, words.text);
    }
    this.#addresses(words.addresses, call.event, realAt, process);
  }

  /** A request of io_uring. */
  request(
    place: Place,
    what: number,
    process: Process,
    tid: number,
    body: Extract<TraceRecord, { kind: 'uring' }>,
  ): void {
    const { cursor, off, size, realAt } = place;
    const words = wordsOf(cursor.bytes, off + SIZE.lemona_uring, off + size, this.#texts);
    const result = body.phase === 'complete' ? body.result : null;
    const args = [body.flags, signed(body.ring), signed(body.userData), signed(body.request)];
    const id = this.event(place, what, process, tid, result, words.text, args);
    this.#addresses(words.addresses, id, realAt, process);
  }

  /** Arguments of the program that a thread is about to execute. */
  argsOf(tid: number): TextRef | null {
    return this.#open.get(tid)?.args ?? null;
  }

  /** A thread that is gone does not return from its last call. */
  forget(tid: number): void {
    this.#open.delete(tid);
  }

  #addresses(addresses: readonly Address[], event: number, at: number | bigint, process: Process): void {
    for (const { family, address } of addresses)
      this.#sockets.values.push(this.#nextSocket++, event, at, process.id, family, address);
  }

  async flush(store: Store): Promise<void> {
    this.#batch++;
    await store.insert(this.#events);
    await store.update(this.#late);
    await store.update(this.#lateTexts);
    await store.insert(this.#sockets);
  }
}
