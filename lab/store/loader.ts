// SPDX-License-Identifier: MIT
/**
 * Records, in order, to rows. What is known of processes, files, users and calls that are under way is kept here and
 * in the database, where a later inserter finds it: the rows are the same wherever the work was interrupted.
 */
import { AT, KIND, SIZE } from '../abi/layout.js';
import { decodeRecord, type TraceRecord } from '../trace/record.js';
import { displayBytes } from '../trace/text.js';
import { Calls } from './calls.js';
import { EffectRows } from './effect-rows.js';
import { type BaseName, Files } from './files.js';
import { inodesOf } from './inodes.js';
import { Kinds } from './kinds.js';
import { signed } from './numbers.js';
import type { Cursor } from './ordered.js';
import { type OwnerChange, Processes } from './processes.js';
import { Batch, type Store, type TextRef, type Value } from './store.js';
import { Texts } from './texts.js';
import { type PasswdLine, Users } from './users.js';

const R = AT.lemona_rec;
const NO_ARGS = [null, null, null, null, null, null] as const;

/** What a checkpoint's image tells of the time before the record. */
export interface Base {
  /** Of its file system. */
  readonly uuid: Buffer;
  readonly names: () => AsyncIterable<BaseName>;
  readonly passwd: () => Promise<readonly PasswdLine[]>;
}

/** One record that is wanted: its place. */
export interface Place {
  readonly cursor: Cursor;
  readonly off: number;
  readonly size: number;
  readonly kind: number;
  readonly realAt: number | bigint;
  readonly monoAt: number;
}

type Body<K extends TraceRecord['kind']> = Extract<TraceRecord, { kind: K }>;

export class Loader {
  readonly #store: Store;
  readonly #trace: number;
  readonly #base: Base | undefined;
  readonly #texts = new Texts();
  readonly #kinds = new Kinds();
  readonly #users: Users;
  readonly #files: Files;
  readonly #processes: Processes;
  readonly #calls: Calls;
  readonly #effects: EffectRows;
  readonly #execs = new Batch('execs');
  readonly #identities = new Batch('identities');
  readonly #losses = new Batch('losses');
  #rootDev: number | undefined;
  #next: { exec: number; identity: number; loss: number };

  private constructor(store: Store, trace: number, base: Base | undefined, next: ReadonlyMap<string, number>) {
    const first = (table: string): number => next.get(table) ?? 1;
    this.#store = store;
    this.#trace = trace;
    this.#base = base;
    this.#users = new Users(trace, first('users'));
    this.#files = new Files(store, trace, this.#texts, first('paths'));
    this.#processes = new Processes(trace, first('processes'), first('threads'));
    this.#calls = new Calls(trace, this.#texts, first('events'), first('sockets'));
    this.#effects = new EffectRows(trace, this.#texts, this.#files, this.#users, first('effects'));
    this.#next = { exec: first('execs'), identity: first('identities'), loss: first('losses') };
  }

  /** Goes on where the database's rows of the trace end. */
  static async open(store: Store, trace: number, monoBase: bigint, base: Base | undefined): Promise<Loader> {
    const next = new Map<string, number>();
    for (const table of NUMBERED) {
      const [row] = await store.select(`SELECT COALESCE(max(id), 0) + 1 AS next FROM ${table}`);
      next.set(table, Number(row?.next));
    }
    const loader = new Loader(store, trace, base, next);
    const [known] = await store.select('SELECT root_dev FROM traces WHERE id = {int 1}', [trace]);
    loader.#rootDev = known?.root_dev == null ? undefined : Number(known.root_dev);
    await loader.#kinds.restore(store);
    await loader.#users.restore(store);
    await loader.#processes.restore(store, loader.#texts);
    await loader.#calls.restore(store, monoBase);
    return loader;
  }

  /** Loads a stretch of records. They are in the store's transaction when it returns. */
  async load(places: readonly Place[]): Promise<void> {
    for (let at = 0; at < places.length; ) {
      await this.#files.prefetch(inodesOf(places, at));
      at = this.#loadUntilBarrier(places, at);
      await this.#flush();
      const { moved, mounted } = this.#effects.takeBarrier();
      if (moved !== undefined) await this.#files.move(moved.directories, moved.seq);
      if (mounted !== undefined) await this.#rootMounted(mounted.dev, mounted.uuid);
    }
  }

  /** Writes what must outlast this process. */
  async checkpoint(monoBase: bigint): Promise<void> {
    await this.#calls.checkpoint(this.#store, monoBase);
  }

  #loadUntilBarrier(places: readonly Place[], from: number): number {
    for (let at = from; at < places.length; at++) {
      this.#one(places[at] as Place);
      if (this.#effects.isAtBarrier) return at + 1;
    }
    return places.length;
  }

  async #flush(): Promise<void> {
    const store = this.#store;
    await this.#texts.flush(store);
    await this.#kinds.flush(store);
    await this.#users.flush(store);
    await this.#files.flush();
    await this.#processes.flush(store);
    await this.#calls.flush(store);
    await this.#effects.flush(store);
    for (const batch of [this.#execs, this.#identities, this.#losses]) await store.insert(batch);
  }

  async #rootMounted(dev: number, uuid: Buffer): Promise<void> {
    if (this.#rootDev !== undefined || this.#base === undefined || !uuid.equals(this.#base.uuid)) return;
    this.#rootDev = dev;
    const root = new Batch('traces', ['id', 'root_dev']);
    root.values.push(this.#trace, dev);
    await this.#store.update(root);
    await this.#files.begin(dev, this.#base.names());
    this.#users.named(await this.#base.passwd(), 'image');
    await this.#users.flush(this.#store);
  }

  #one(place: Place): void {
    const { cursor, off, kind } = place;
    const buf = cursor.bytes;
    const tid = buf.readUInt32LE(off + R.tid);
    const code = buf.readUInt16LE(off + R.code);
    const flags = buf.readUInt16LE(off + R.flags);
    const what = this.#kinds.of(kind, code, flags);
    if (kind === KIND.ENTRY) this.#calls.entered(place, what, this.#processes.of(tid), tid, flags);
    else if (kind === KIND.EXIT) this.#calls.returned(place, what, this.#processes.of(tid), tid);
    else if (kind === KIND.SWITCH && place.size >= SIZE.lemona_switch) {
      const next = buf.readUInt32LE(off + AT.lemona_switch.next_tid);
      const state = buf.readUInt32LE(off + AT.lemona_switch.prev_state);
      this.#calls.event(place, what, this.#processes.of(tid), tid, null, null, [next, state, null, null, null, null]);
    } else this.#rare(place, decodeRecord(buf, off, cursor.stored.header), what, tid);
  }

  /** Kinds of which there are few. */
  #rare(place: Place, record: TraceRecord, what: number, tid: number): void {
    const event = (text: TextRef | null, args: readonly Value[], result: Value = null): number =>
      this.#calls.event(place, what, this.#processes.of(tid), tid, result, text, [...args, ...NO_ARGS].slice(0, 6));
    switch (record.kind) {
      case 'effect':
        this.#effects.add(place, record.effect, what, this.#processes.of(tid), tid);
        break;
      case 'task': {
        this.#calls.forget(record.taskTid);
        const process = this.#processes.task(record, place.realAt);
        for (const uid of [record.uid, record.euid]) this.#users.seen(uid);
        event(this.#texts.ofText(process.name), [
          record.taskTid,
          record.tgid,
          record.parentTgid,
          record.isFork ? 0 : 1,
        ]);
        break;
      }
      case 'exec':
        this.#exec(place, record, tid, event);
        break;
      case 'cred': {
        const { uid, gid, euid, egid, suid, sgid } = record;
        this.#identity(place, event(null, [uid, gid, euid, egid, suid, sgid]), this.#processes.cred(record, tid));
        break;
      }
      case 'task_exit':
        this.#calls.forget(tid);
        event(null, [record.status]);
        this.#processes.exit(record, tid, place.realAt);
        break;
      case 'fault': {
        const path = this.#files.refOf(this.#files.get(record.dev, signed(record.ino), record.gen));
        event(path, [signed(record.index), signed(record.address), signed(record.ino), record.gen, record.dev]);
        break;
      }
      case 'loss':
        event(null, [record.reason, record.records]);
        this.#loss(place, 'LOSS', record);
        break;
      case 'lost':
        event(null, []);
        this.#loss(place, 'LOST', record);
        break;
      case 'info':
        event(this.#texts.ofText(displayBytes(record.text).replaceAll('\\x0a', ' ')), []);
        break;
      case 'uring':
        this.#calls.request(place, what, this.#processes.of(record.tgid === 0 ? tid : record.tgid), tid, record);
        break;
      default:
        event(record.kind === 'malformed' ? this.#texts.ofText(record.why) : null, []);
    }
  }

  #exec(
    place: Place,
    record: Body<'exec'>,
    tid: number,
    event: (text: TextRef | null, args: readonly Value[]) => number,
  ): void {
    const exe = this.#texts.ofText(displayBytes(record.path));
    const args = this.#calls.argsOf(tid);
    const change = this.#processes.exec(record, exe, args);
    const id = event(exe, [signed(record.ino), record.gen, record.dev]);
    const { id: process } = this.#processes.of(record.tgid);
    const file = record.ino === 0n ? null : this.#files.get(record.dev, signed(record.ino), record.gen).id;
    this.#execs.values.push(this.#next.exec++, id, place.realAt, process, exe, args, file, record.uid, record.euid);
    this.#identity(place, id, change);
  }

  #identity(place: Place, event: number, change: OwnerChange | undefined): void {
    if (change === undefined) return;
    const { process, oldUid, oldEuid } = change;
    for (const uid of [process.uid, process.euid]) if (uid !== null) this.#users.seen(uid);
    const id = this.#next.identity++;
    this.#identities.values.push(id, event, place.realAt, process.id, oldUid, oldEuid, process.uid, process.euid);
  }

  #loss(place: Place, cls: 'LOSS' | 'LOST', record: Body<'loss'> | Body<'lost'>): void {
    const note =
      record.kind === 'lost'
        ? {
            file: record.ino === 0n ? null : this.#files.get(record.dev, signed(record.ino), record.gen).id,
            values: [record.what, signed(record.pos), signed(record.len)],
          }
        : { file: null, values: [null, null, null] };
    this.#losses.values.push(
      ...[this.#next.loss++, this.#trace, place.realAt, cls, record.cpu],
      record.kind === 'loss' ? record.reason : null,
      ...[signed(record.seqFirst), signed(record.seqLast), record.effects],
      record.kind === 'loss' ? record.records : null,
      ...[note.file, ...note.values],
    );
  }
}

/** Tables whose rows we number. */
const NUMBERED = [
  ...['users', 'paths', 'processes', 'threads', 'events', 'sockets', 'effects', 'execs', 'identities', 'losses'],
] as const;
