// SPDX-License-Identifier: MIT
/** Threads, processes, their programs and owners, as rows that change while the record goes on. */
import type { RecordBody } from '../trace/record.js';
import { displayBytes } from '../trace/text.js';
import { BoundedMap } from '../util/bounded-map.js';
import { narrow } from './numbers.js';
import { Batch, type Store, type TextRow, type Value } from './store.js';

/** Threads remembered: three times Linux's default pid_max. Only a record that is made up has more. */
const KEPT = 100_000;

type Time = number | bigint | null;

export interface Process {
  readonly id: number;
  readonly pid: number;
  parent: number | null;
  born: Time;
  ended: Time;
  status: number | null;
  isKernel: boolean;
  /** At its birth. */
  name: string;
  /** Number in `execs` of its program; a child has its forker's until it executes one. */
  exec: number | null;
  uid: number | null;
  euid: number | null;
}

export interface Thread {
  readonly id: number;
  readonly tid: number;
  readonly process: Process;
  readonly born: Time;
  ended: Time;
  /** Linux keeps credentials for each thread. */
  euid: number | null;
}

type Body<K extends RecordBody['kind']> = Extract<RecordBody, { kind: K }>;

/** What changed of an owner. */
export interface OwnerChange {
  readonly process: Process;
  readonly oldUid: number | null;
  readonly oldEuid: number | null;
}

export class Processes {
  readonly #trace: number;
  readonly #threads = new BoundedMap<number, Thread>(KEPT);
  /** Of each process that goes on. */
  readonly #running = new Map<Process, Set<Thread>>();
  #nextProcess: number;
  #nextThread: number;
  /** Rows that are not written yet, and those that are and have changed since. */
  readonly #freshProcesses = new Set<Process>();
  readonly #changedProcesses = new Set<Process>();
  readonly #freshThreads = new Set<Thread>();
  readonly #changedThreads = new Set<Thread>();

  constructor(trace: number, nextProcess: number, nextThread: number) {
    this.#trace = trace;
    this.#nextProcess = nextProcess;
    this.#nextThread = nextThread;
  }

  /** Reads what a former inserter wrote: the last thread of each number. */
  async restore(store: Store): Promise<void> {
    const rows = await store.select(
      `SELECT t.id AS thread, t.tid, CAST(t.born_ns AS text) AS thread_born, CAST(t.ended_ns AS text) AS thread_ended, t.euid AS thread_euid,
 p.id, p.pid, p.parent, CAST(p.born_ns AS text) AS born_ns, CAST(p.ended_ns AS text) AS ended_ns, p.status, p.is_kernel,
 p.name, p.exec, p.uid, p.euid
 FROM threads t JOIN processes p ON p.id = t.process
 WHERE t.id IN (SELECT max(id) FROM threads WHERE trace = {int 1} GROUP BY tid) ORDER BY t.id`,
      [this.#trace],
    );
    const time = (row: TextRow, column: string): Time =>
      row[column] == null ? null : narrow(BigInt(row[column]) - store.timeBase);
    const number = (row: TextRow, column: string): number | null => (row[column] == null ? null : Number(row[column]));
    const processes = new Map<number, Process>();
    for (const row of rows) {
      const id = Number(row.id);
      const process = processes.get(id) ?? {
        id,
        pid: Number(row.pid),
        parent: number(row, 'parent'),
        born: time(row, 'born_ns'),
        ended: time(row, 'ended_ns'),
        status: number(row, 'status'),
        isKernel: row.is_kernel === '1',
        name: row.name ?? '',
        exec: number(row, 'exec'),
        uid: number(row, 'uid'),
        euid: number(row, 'euid'),
      };
      processes.set(id, process);
      const tid = Number(row.tid);
      const [born, ended] = [time(row, 'thread_born'), time(row, 'thread_ended')];
      const thread: Thread = { id: Number(row.thread), tid, process, born, ended, euid: number(row, 'thread_euid') };
      this.#threads.set(tid, thread);
      if (ended === null) this.#runs(thread);
    }
  }

  /** A thread; one that nobody heard of yet is a process of its own. */
  get(tid: number): Thread {
    return this.#threads.get(tid) ?? this.#unheard(tid);
  }

  /** A thread that makes a call: one that has ended makes none, so its number is another's, whose birth was lost. */
  caller(tid: number): Thread {
    const thread = this.get(tid);
    return thread.ended === null ? thread : this.#unheard(tid);
  }

  of(tid: number): Process {
    return this.get(tid).process;
  }

  #unheard(tid: number): Thread {
    return this.#addThread(tid, this.#addProcess(tid, null), null, null);
  }

  /** @param by whose record it is: of a birth, the thread that forks */
  task(body: Body<'task'>, by: number, at: Time): Process {
    const born = body.isFork ? at : null;
    if (body.isThread) {
      const process = this.of(body.tgid);
      this.#addThread(body.taskTid, process, born, body.euid);
      return process;
    }
    // One that was there before may have been heard of already.
    const known = body.isFork ? undefined : this.#threads.get(body.taskTid)?.process;
    const process = known?.pid === body.tgid ? known : this.#addProcess(body.tgid, born);
    // With CLONE_PARENT the kernel's parent is the forker's own.
    const from = body.isFork ? by : body.parentTgid;
    const parent = from === 0 ? undefined : this.of(from);
    process.parent = parent?.id ?? null;
    process.isKernel = body.isKernelThread;
    process.name = displayBytes(body.comm);
    if (body.isFork) process.exec = parent?.exec ?? null;
    process.uid = body.uid;
    process.euid = body.euid;
    this.#changed(process);
    if (process === known) this.#becomes(this.get(body.taskTid), body.euid);
    else this.#addThread(body.taskTid, process, born, body.euid);
    return process;
  }

  #becomes(thread: Thread, euid: number): void {
    if (thread.euid === euid) return;
    thread.euid = euid;
    if (!this.#freshThreads.has(thread)) this.#changedThreads.add(thread);
  }

  #runs(thread: Thread): void {
    const running = this.#running.get(thread.process);
    if (running === undefined) this.#running.set(thread.process, new Set([thread]));
    else running.add(thread);
  }

  /** Whether others of its process still run. */
  #endThread(thread: Thread, at: Time): boolean {
    thread.ended = at;
    if (!this.#freshThreads.has(thread)) this.#changedThreads.add(thread);
    const running = this.#running.get(thread.process);
    running?.delete(thread);
    if (running?.size === 0) this.#running.delete(thread.process);
    return this.#running.has(thread.process);
  }

  /**
   * A thread that is not the first one executes a program: it is the only one left, and takes the first one's number.
   * @returns the number that it had; undefined: it was the first one
   */
  takeOver(tgid: number, at: Time): number | undefined {
    const first = this.#threads.get(tgid);
    const heir = [...(this.#running.get(this.of(tgid)) ?? [])].find((thread) => thread !== first);
    if (first === undefined || first.ended === null || heir === undefined) return undefined;
    first.ended = null;
    if (!this.#freshThreads.has(first)) this.#changedThreads.add(first);
    this.#runs(first);
    this.#endThread(heir, at);
    return heir.tid;
  }

  /** @param exec number in `execs` */
  exec(body: Body<'exec'>, exec: number): OwnerChange | undefined {
    const thread = this.get(body.tgid);
    const { process } = thread;
    process.exec = exec;
    this.#changed(process);
    this.#becomes(thread, body.euid);
    return this.#owner(process, body.uid, body.euid);
  }

  cred(body: Body<'cred'>, tid: number): OwnerChange | undefined {
    const thread = this.get(tid);
    this.#becomes(thread, body.euid);
    return this.#owner(thread.process, body.uid, body.euid);
  }

  exit(body: Body<'task_exit'>, tid: number, at: Time): void {
    const process = this.of(tid);
    const thread = this.#threads.get(tid);
    if (thread !== undefined && this.#endThread(thread, at)) return;
    process.ended = at;
    process.status = body.status;
    this.#changed(process);
  }

  #owner(process: Process, uid: number, euid: number): OwnerChange | undefined {
    const { uid: oldUid, euid: oldEuid } = process;
    if (oldUid === uid && oldEuid === euid) return undefined;
    process.uid = uid;
    process.euid = euid;
    this.#changed(process);
    return { process, oldUid, oldEuid };
  }

  #changed(process: Process): void {
    if (!this.#freshProcesses.has(process)) this.#changedProcesses.add(process);
  }

  #addProcess(pid: number, born: Time): Process {
    const process: Process = {
      ...{ id: this.#nextProcess++, pid, parent: null, born, ended: null, status: null, isKernel: false, name: '' },
      ...{ exec: null, uid: null, euid: null },
    };
    this.#freshProcesses.add(process);
    return process;
  }

  #addThread(tid: number, process: Process, born: Time, euid: number | null): Thread {
    const thread: Thread = { id: this.#nextThread++, tid, process, born, ended: null, euid };
    this.#freshThreads.add(thread);
    const before = this.#threads.get(tid);
    // Its exit was lost: its number is another's by now.
    if (before !== undefined && before.ended === null) this.#running.get(before.process)?.delete(before);
    this.#threads.set(tid, thread);
    this.#runs(thread);
    return thread;
  }

  async flush(store: Store): Promise<void> {
    const processes = new Batch('processes');
    for (const p of this.#freshProcesses) processes.values.push(p.id, this.#trace, p.pid, ...changeable(p));
    const changed = new Batch('processes', ['id', ...processes.columns.slice(3)]);
    for (const p of this.#changedProcesses) changed.values.push(p.id, ...changeable(p));
    const threads = new Batch('threads');
    for (const t of this.#freshThreads)
      threads.values.push(t.id, this.#trace, t.process.id, t.tid, t.born, t.ended, t.euid);
    const later = new Batch('threads', ['id', 'ended_ns', 'euid']);
    for (const t of this.#changedThreads) later.values.push(t.id, t.ended, t.euid);
    for (const set of [this.#freshProcesses, this.#changedProcesses, this.#freshThreads, this.#changedThreads])
      set.clear();
    await store.insert(processes);
    await store.update(changed);
    await store.insert(threads);
    await store.update(later);
  }
}

/** What of a row can change, in the order of the table. */
function changeable(p: Process): Value[] {
  return [p.parent, p.born, p.ended, p.status, p.isKernel ? 1 : 0, p.name, p.exec, p.uid, p.euid];
}
