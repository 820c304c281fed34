// SPDX-License-Identifier: MIT
/** System calls, a row for each with what it returned, and all other events. */
import { AT, FLAG, SIZE } from '../abi/layout.js';
import { NUMBER_REPLACED } from '../abi/syscalls.js';
import type { TraceRecord } from '../trace/record.js';
import { type Address, wordsOf } from './captures.js';
import { narrow, readSigned, signed } from './numbers.js';
import type { Thread } from './processes.js';
import { placesOf, Rows } from './rows.js';
import { EVENT_FLAG } from './schema.js';
import type { Spot } from './spot.js';
import { Batch, type Store, type TextRef } from './store.js';
import type { Texts } from './texts.js';

const REC_BYTES: number = SIZE.lemona_rec;
const EXIT_BYTES: number = SIZE.lemona_exit;
const RET_AT: number = AT.lemona_exit.ret;
const { F_DENIED, F_CUT, F_NARGS_MASK, F_NARGS_SHIFT } = FLAG;
const ARGS_MAX = 6;
/** Threads whose calls are remembered. */
const KEPT = 100_000;
const [ID, TIME, DURATION, KIND_OF, PROCESS, TID, CPU, EXEC, EUID, RESULT, FLAGS, TEXT, FIRST_ARG] = placesOf(
  'events',
  [
    ...(['id', 'time_ns', 'duration_ns', 'kind', 'process', 'tid', 'cpu', 'exec', 'euid'] as const),
    ...(['result', 'flags', 'text', 'a0'] as const),
  ],
);

/** The last call of a thread. It stands for one after the other: a map that is emptied again and again is slow. */
interface LastCall {
  isOpen: boolean;
  /** Which call. */
  what: number;
  event: number;
  /** Its row in the batch that is collected, if it is in that one. */
  row: number;
  batch: number;
  monoAt: number;
  args: TextRef | null;
  hasText: boolean;
  flags: number;
  /** Bytes that the caller has for an address. */
  room: number | null;
}

/** `EVENT_FLAGS` in the header of a record of a call. */
function flagsOf(flags: number): number {
  return ((flags & F_DENIED) === 0 ? 0 : EVENT_FLAG.denied) | ((flags & F_CUT) === 0 ? 0 : EVENT_FLAG.cut);
}

export class Calls {
  readonly #trace: number;
  readonly #texts: Texts;
  readonly #events = new Rows('events');
  readonly #late = new Batch('events', ['id', 'duration_ns', 'result']);
  readonly #lateTexts = new Batch('events', ['id', 'text']);
  readonly #lateFlags = new Batch('events', ['id', 'flags']);
  readonly #sockets = new Batch('sockets');
  /** By thread. */
  readonly #last = new Map<number, LastCall>();
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
      `SELECT o.event, o.tid, e.kind, CAST(o.entered_mono AS text) AS entered, t.text AS args, e.text AS words, e.flags, o.room
 FROM open_calls o JOIN events e ON e.id = o.event LEFT JOIN texts t ON t.id = o.args
 WHERE o.trace = {int 1} ORDER BY o.event`,
      [this.#trace],
    );
    for (const { event, tid, kind, entered, args, words, flags, room } of rows) {
      this.#last.set(Number(tid), {
        isOpen: true,
        what: Number(kind),
        event: Number(event),
        row: 0,
        batch: -1,
        monoAt: Number(BigInt(entered ?? 0) - monoBase),
        args: args == null ? null : this.#texts.ofText(args),
        hasText: words !== null,
        flags: Number(flags),
        room: room == null ? null : Number(room),
      });
    }
  }

  /** Writes the calls that are under way. */
  async checkpoint(store: Store, monoBase: bigint): Promise<void> {
    const open = new Batch('open_calls');
    for (const [tid, call] of this.#last) {
      if (call.isOpen)
        open.values.push(call.event, this.#trace, tid, narrow(BigInt(call.monoAt) + monoBase), call.args, call.room);
    }
    await store.clearOpenCalls(this.#trace);
    await store.insert(open);
  }

  /** A row with what every event has. */
  #row(spot: Spot, what: number, thread: Thread, flags: number): number {
    const rows = this.#events;
    const row = rows.add();
    rows.set(row, ID, this.#nextEvent++);
    spot.putTime(rows, row, TIME);
    rows.set(row, KIND_OF, what);
    const { process, euid } = thread;
    rows.set(row, PROCESS, process.id);
    rows.set(row, TID, spot.tid);
    rows.set(row, CPU, spot.cursor.cpu);
    if (process.exec !== null) rows.set(row, EXEC, process.exec);
    if (euid !== null) rows.set(row, EUID, euid);
    rows.set(row, FLAGS, flags);
    return row;
  }

  /** Any event; its number. */
  event(
    spot: Spot,
    what: number,
    thread: Thread,
    result: number | null,
    text: TextRef | null,
    args: readonly (number | bigint)[],
    flags = 0,
  ): number {
    const row = this.#row(spot, what, thread, flags);
    this.#events.setAny(row, RESULT, result);
    this.#events.setText(row, TEXT, text);
    for (const [i, arg] of args.entries()) this.#events.setAny(row, FIRST_ARG + i, arg);
    return this.#nextEvent - 1;
  }

  entered(spot: Spot, what: number, thread: Thread): void {
    const { buf, off, end, tid, flags } = spot;
    const rows = this.#events;
    let count = (flags & F_NARGS_MASK) >> F_NARGS_SHIFT;
    if (count > ARGS_MAX || off + REC_BYTES + 8 * count > end) count = 0;
    const words = wordsOf(buf, off + REC_BYTES + 8 * count, end, this.#texts, what);
    const told = flagsOf(flags) | words.flags;
    const row = this.#row(spot, what, thread, told);
    const event = this.#nextEvent - 1;
    for (let i = 0; i < count; i++) rows.copy(row, FIRST_ARG + i, buf, off + REC_BYTES + 8 * i);
    rows.setText(row, TEXT, words.text);
    this.#addresses(words.addresses, event, spot, thread);
    const call = this.#last.get(tid) ?? this.#newThread(tid);
    call.isOpen = true;
    call.what = what;
    call.event = event;
    call.row = row;
    call.batch = this.#batch;
    call.monoAt = spot.monoAt;
    call.args = words.args;
    call.hasText = words.text !== null;
    call.flags = told;
    call.room = words.room;
  }

  #newThread(tid: number): LastCall {
    if (this.#last.size >= KEPT) for (const oldest of [...this.#last.keys()].slice(0, 1)) this.#last.delete(oldest);
    const call: LastCall = {
      ...{ isOpen: false, what: 0, event: 0, row: 0, batch: -1, monoAt: 0, args: null, hasText: false },
      ...{ flags: 0, room: null },
    };
    this.#last.set(tid, call);
    return call;
  }

  returned(spot: Spot, what: number, thread: Thread): void {
    const { buf, off, end, tid } = spot;
    const hasResult = spot.size >= EXIT_BYTES;
    const call = this.#last.get(tid);
    const rows = this.#events;
    const isOfIt = call?.isOpen === true && (call.what === what || spot.code === NUMBER_REPLACED);
    // Of another call: what this one returned is lost, and so is that one's entry.
    if (call !== undefined) call.isOpen = false;
    const words = wordsOf(buf, off + EXIT_BYTES, end, this.#texts, what, isOfIt ? call.room : null);
    const told = flagsOf(spot.flags) | words.flags;
    if (call === undefined || !isOfIt) {
      const event = this.event(spot, what, thread, null, words.text, [], told);
      if (hasResult) rows.copy(rows.count - 1, RESULT, buf, off + RET_AT);
      this.#addresses(words.addresses, event, spot, thread);
      return;
    }
    const duration = spot.monoAt - call.monoAt;
    const isNews = words.text !== null && !call.hasText;
    if (call.batch === this.#batch) {
      rows.set(call.row, DURATION, duration);
      if (hasResult) rows.copy(call.row, RESULT, buf, off + RET_AT);
      if (isNews) rows.setText(call.row, TEXT, words.text);
      if (told !== 0) rows.set(call.row, FLAGS, call.flags | told);
    } else {
      this.#late.values.push(call.event, duration, hasResult ? readSigned(buf, off + RET_AT) : null);
      if (isNews) this.#lateTexts.values.push(call.event, words.text);
      if (told !== 0) this.#lateFlags.values.push(call.event, call.flags | told);
    }
    this.#addresses(words.addresses, call.event, spot, thread);
  }

  /** A request of io_uring. */
  request(spot: Spot, what: number, thread: Thread, body: Extract<TraceRecord, { kind: 'uring' }>): void {
    const words = wordsOf(spot.buf, spot.off + SIZE.lemona_uring, spot.end, this.#texts, what);
    const result = body.phase === 'complete' ? body.result : null;
    const args = [body.flags, signed(body.ring), signed(body.userData), signed(body.request)];
    const event = this.event(spot, what, thread, result, words.text, args, words.flags);
    // It runs with credentials of its own.
    if (body.phase === 'issue') this.#events.set(this.#events.count - 1, EUID, body.euid);
    this.#addresses(words.addresses, event, spot, thread);
  }

  /** Arguments of the program that a thread is about to execute. */
  argsOf(tid: number): TextRef | null {
    const call = this.#last.get(tid);
    return call?.isOpen === true ? call.args : null;
  }

  /** A thread goes on under another number. */
  rename(from: number, to: number): void {
    const call = this.#last.get(from);
    if (call === undefined) return;
    this.#last.delete(from);
    this.#last.set(to, call);
  }

  /** A thread that is gone does not return from its last call. */
  forget(tid: number): void {
    this.#last.delete(tid);
  }

  #addresses(addresses: readonly Address[], event: number, spot: Spot, thread: Thread): void {
    for (const { family, address } of addresses)
      this.#sockets.values.push(this.#nextSocket++, event, spot.realAt, thread.process.id, family, address);
  }

  async flush(store: Store): Promise<void> {
    this.#batch++;
    await store.insertRows(this.#events);
    await store.update(this.#late);
    await store.update(this.#lateTexts);
    await store.update(this.#lateFlags);
    await store.insert(this.#sockets);
  }
}
