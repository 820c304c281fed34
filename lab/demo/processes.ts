// SPDX-License-Identifier: MIT
/**
 * Processes and sessions, from the TASK, EXEC and CRED records. A session is
 * what grows out of the first process of a chain that is not root's: whatever
 * it becomes later, it stays in its session.
 */
import type { TraceRecord } from '../trace/record.js';
import { displayBytes } from '../trace/text.js';
import { BoundedMap } from '../util/bounded-map.js';

export interface Session {
  readonly id: number;
  /** Who it began as. */
  readonly uid: number;
}

export interface Process {
  readonly tgid: number;
  /** Cut off above the processes that a chain shows. */
  parent: Process | undefined;
  comm: string;
  /** Of the last program it ran. */
  argv: readonly string[];
  uid: number;
  euid: number;
  session: Session | undefined;
  /** How it came to be root although its owner is not. */
  privilege: 'own' | 'system program' | 'planted program';
}

/** Processes kept; the oldest go first, living or dead. */
const KEPT = 50_000;
/** Threads kept. */
const THREADS_KEPT = 100_000;
/** Processes that a chain shows. */
const CHAIN_SHOWN = 12;

/** A child keeps its parent alive, that one its own, and so on: without end, if nobody cuts. */
function forgetAbove(process: Process | undefined): void {
  let at = process;
  for (let depth = 1; at !== undefined && depth < CHAIN_SHOWN; depth++) at = at.parent;
  if (at !== undefined) at.parent = undefined;
}

export class Processes {
  readonly #byTgid = new BoundedMap<number, Process>(KEPT);
  readonly #tgidOf = new BoundedMap<number, number>(THREADS_KEPT);
  #sessions = 0;

  /** The process of a thread. */
  of(tid: number): Process | undefined {
    return this.#byTgid.get(this.#tgidOf.get(tid) ?? tid);
  }

  observe(record: TraceRecord): void {
    if (record.kind === 'task') {
      this.#tgidOf.set(record.taskTid, record.tgid);
      if (record.isThread) return;
      // Whoever forks is the record's own task: with CLONE_PARENT the parent is another, and the child does not come of it.
      const forker = record.isFork ? this.of(record.tid) : undefined;
      const parent = forker ?? this.#byTgid.get(record.parentTgid);
      forgetAbove(parent);
      this.#byTgid.set(record.tgid, {
        tgid: record.tgid,
        parent,
        comm: displayBytes(record.comm),
        argv: record.isFork ? (parent?.argv ?? []) : [],
        uid: record.uid,
        euid: record.euid,
        session: record.isFork ? parent?.session : undefined,
        privilege: record.isFork ? (parent?.privilege ?? 'own') : 'own',
      });
    } else if (record.kind === 'exec') {
      this.#tgidOf.set(record.tid, record.tgid);
      const process = this.#byTgid.get(record.tgid);
      if (process === undefined) return;
      process.comm = displayBytes(record.comm);
      this.#owner(process, record.uid, record.euid);
    } else if (record.kind === 'cred') {
      const process = this.of(record.tid);
      if (process !== undefined) this.#owner(process, record.uid, record.euid);
    }
  }

  #owner(process: Process, uid: number, euid: number): void {
    process.uid = uid;
    process.euid = euid;
    // Root in its own right, or nobody special any more.
    if (euid !== 0) process.privilege = 'own';
    if (uid !== 0 && process.session === undefined) process.session = { id: ++this.#sessions, uid };
  }

  /** `bash › su › bash › cp`: from the session's first process down to this one. */
  static chain(process: Process): string {
    const names: string[] = [];
    let at: Process | undefined = process;
    for (let depth = 0; at !== undefined && depth < CHAIN_SHOWN; depth++) {
      names.unshift(at.comm);
      if (at.parent === undefined || at.parent.session?.id !== process.session?.id) break;
      at = at.parent;
    }
    return names.filter((name, index) => name !== names[index - 1]).join(' › ');
  }
}
