// SPDX-License-Identifier: MIT
/**
 * Records, in order, to rows. What is known of processes, files, users and calls that are under way is kept here and
 * in the database, where a later inserter finds it: the rows are the same wherever the work was interrupted.
 */
import { AT, KIND, SIZE } from '../abi/layout.js';
import { decodeRecord, type TraceRecord } from '../trace/record.js';
import { displayBytes } from '../trace/text.js';
import { Calls } from './calls.js';
import { type Doubled, EffectRows } from './effect-rows.js';
import { type BaseName, Files } from './files.js';
import { inodesOf } from './inodes.js';
import { Kinds } from './kinds.js';
import { signed } from './numbers.js';
import type { Cursor } from './ordered.js';
import { type OwnerChange, Processes } from './processes.js';
import { Spot, type Stretch } from './spot.js';
import { Batch, type Store, type TextRef } from './store.js';
import { Texts } from './texts.js';
import { type PasswdLine, Users } from './users.js';

/** What a checkpoint's image tells of the time before the record. */
export interface Base {
  /** Of its file system. */
  readonly uuid: Buffer;
  readonly names: () => AsyncIterable<BaseName>;
  readonly passwd: () => Promise<readonly PasswdLine[]>;
}

const { PART, ELSEWHERE, ENTRY, EXIT, EFFECT, SWITCH } = KIND;
const SWITCH_BYTES: number = SIZE.lemona_switch;
const { next_tid: NEXT_TID, prev_state: PREV_STATE } = AT.lemona_switch;

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
  #next: { exec: number; identity: number; loss: number };

  private constructor(store: Store, trace: number, base: Base | undefined, next: ReadonlyMap<string, number>) {
    const first = (table: string): number => next.get(table) ?? 1;
    this.#store = store;
    this.#trace = trace;
    this.#base = base;
    this.#users = new Users(trace, first('users'));
    this.#files = new Files(store, trace, this.#texts, base?.uuid, first('paths'));
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
    await loader.#kinds.restore(store);
    await loader.#users.restore(store);
    await loader.#files.restore();
    await loader.#processes.restore(store);
    await loader.#calls.restore(store, monoBase);
    await loader.#effects.restore(store);
    return loader;
  }

  /** Loads a stretch of records. They are in the store's transaction when it returns. */
  async load(stretch: Stretch): Promise<void> {
    for (let at = 0; at < stretch.length; ) {
      await this.#files.prefetch(inodesOf(stretch, at));
      at = this.#loadUntilBarrier(stretch, at);
      await this.#flush();
      const { moved, rootDev, doubtful } = this.#effects.takeBarrier();
      if (doubtful) await this.#effects.lookUp(this.#store, stretch, at);
      if (moved !== undefined) await this.#files.move(moved.directories, moved.seq);
      if (rootDev !== undefined) await this.#rootMounted(rootDev);
    }
    this.#effects.forgetLookedUp();
  }

  /** Effects that were there twice, and are left out, since it was last asked. */
  takeDoubled(): Doubled[] {
    return this.#effects.takeDoubled();
  }

  /** Writes what must outlast this process. */
  async checkpoint(monoBase: bigint): Promise<void> {
    await this.#calls.checkpoint(this.#store, monoBase);
  }

  #loadUntilBarrier({ cursors, offs, length }: Stretch, from: number): number {
    const spot = new Spot(cursors[from] as Cursor);
    for (let at = from; at < length; at++) {
      spot.go(cursors[at] as Cursor, offs[at] as number);
      this.#one(spot);
      if (this.#effects.isInDoubt) return at;
      if (this.#effects.isAtBarrier) return at + 1;
    }
    return length;
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

  async #rootMounted(dev: number): Promise<void> {
    const root = new Batch('traces', ['id', 'root_dev']);
    root.values.push(this.#trace, dev);
    await this.#store.update(root);
    if (this.#base === undefined) return;
    await this.#files.begin(dev, this.#base.names());
    this.#users.named(await this.#base.passwd(), 'image');
    await this.#users.flush(this.#store);
  }

  #one(spot: Spot): void {
    const { kind, tid } = spot;
    // They say where records are that are not here; nothing happened.
    if (kind === PART || kind === ELSEWHERE) return;
    const what = this.#kinds.of(kind, spot.code, spot.flags);
    if (kind === ENTRY) this.#calls.entered(spot, what, this.#processes.caller(tid));
    else if (kind === EXIT) this.#calls.returned(spot, what, this.#processes.get(tid));
    else if (kind === EFFECT) this.#effects.add(spot, what, this.#processes.get(tid));
    else if (kind === SWITCH && spot.size >= SWITCH_BYTES) {
      const next = spot.buf.readUInt32LE(spot.off + NEXT_TID);
      const state = spot.buf.readUInt32LE(spot.off + PREV_STATE);
      this.#calls.event(spot, what, this.#processes.get(tid), null, null, [next, state]);
    } else this.#rare(spot, decodeRecord(spot.buf, spot.off, spot.cursor.stored.header), what);
  }

  #event(spot: Spot, what: number, text: TextRef | null, args: readonly (number | bigint)[]): number {
    return this.#calls.event(spot, what, this.#processes.get(spot.tid), null, text, args);
  }

  /** Kinds of which there are few. */
  #rare(spot: Spot, record: TraceRecord, what: number): void {
    const { tid, realAt } = spot;
    switch (record.kind) {
      case 'task': {
        this.#calls.forget(record.taskTid);
        const process = this.#processes.task(record, tid, realAt);
        for (const uid of [record.uid, record.euid]) this.#users.seen(uid);
        this.#event(spot, what, this.#texts.ofText(process.name), [
          record.taskTid,
          record.tgid,
          record.parentTgid,
          record.isFork ? 0 : 1,
        ]);
        break;
      }
      case 'exec':
        this.#exec(spot, record, what);
        break;
      case 'cred': {
        const { uid, gid, euid, egid, suid, sgid } = record;
        this.#identity(
          spot,
          this.#event(spot, what, null, [uid, gid, euid, egid, suid, sgid]),
          this.#processes.cred(record, tid),
        );
        break;
      }
      case 'task_exit':
        this.#calls.forget(tid);
        this.#event(spot, what, null, [record.status]);
        this.#processes.exit(record, tid, realAt);
        break;
      case 'fault': {
        const path = this.#files.refOf(this.#files.get(record.dev, signed(record.ino), record.gen));
        this.#event(spot, what, path, [
          signed(record.index),
          signed(record.address),
          signed(record.ino),
          record.gen,
          record.dev,
        ]);
        break;
      }
      case 'loss':
        this.#event(spot, what, null, [record.reason, record.records]);
        this.#loss(spot, 'LOSS', record);
        break;
      case 'lost':
        this.#event(spot, what, null, []);
        this.#loss(spot, 'LOST', record);
        break;
      case 'info':
        this.#event(spot, what, this.#texts.ofText(displayBytes(record.text).replaceAll('\\x0a', ' ')), []);
        break;
      case 'uring':
        this.#calls.request(spot, what, this.#processes.get(record.tgid === 0 ? tid : record.tgid), record);
        break;
      default:
        this.#event(spot, what, record.kind === 'malformed' ? this.#texts.ofText(record.why) : null, []);
    }
  }

  #exec(spot: Spot, record: Body<'exec'>, what: number): void {
    const before = this.#processes.takeOver(record.tgid, spot.realAt);
    if (before !== undefined) this.#calls.rename(before, record.tgid);
    const exe = this.#texts.ofText(displayBytes(record.path));
    const args = this.#calls.argsOf(spot.tid);
    const exec = this.#next.exec++;
    const change = this.#processes.exec(record, exec);
    const id = this.#event(spot, what, exe, [signed(record.ino), record.gen, record.dev]);
    const { id: process } = this.#processes.of(record.tgid);
    const file = record.ino === 0n ? null : this.#files.get(record.dev, signed(record.ino), record.gen).id;
    const name = displayBytes(record.comm);
    const { uid, euid } = record;
    this.#execs.values.push(exec, id, spot.realAt, process, exe, args, name, file, uid, euid);
    this.#identity(spot, id, change);
  }

  #identity(spot: Spot, event: number, change: OwnerChange | undefined): void {
    if (change === undefined) return;
    const { process, oldUid, oldEuid } = change;
    for (const uid of [process.uid, process.euid]) if (uid !== null) this.#users.seen(uid);
    const id = this.#next.identity++;
    this.#identities.values.push(id, event, spot.realAt, process.id, oldUid, oldEuid, process.uid, process.euid);
  }

  #loss(spot: Spot, cls: 'LOSS' | 'LOST', record: Body<'loss'> | Body<'lost'>): void {
    const note =
      record.kind === 'lost'
        ? {
            file: record.ino === 0n ? null : this.#files.get(record.dev, signed(record.ino), record.gen).id,
            values: [record.what, signed(record.pos), signed(record.len)],
          }
        : { file: null, values: [null, null, null] };
    this.#losses.values.push(
      ...[this.#next.loss++, this.#trace, spot.realAt, cls, record.cpu],
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
