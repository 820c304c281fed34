// SPDX-License-Identifier: MIT
/**
 * Who is who: threads, processes, names and owners, learned from TASK, EXEC, CRED and TASK_EXIT records in order of
 * time. A dead task is kept for a while, because records of its last breath follow; memory is bounded by that.
 */
import { BoundedMap } from '../util/bounded-map.js';
import type { TraceRecord } from './record.js';

export interface Task {
  readonly tid: number;
  readonly tgid: number;
  readonly parentTgid: number;
  readonly comm: string;
  readonly uid: number;
  readonly euid: number;
  readonly isKernelThread: boolean;
  /** Path of the last program executed, if it was seen. */
  readonly exe: string | undefined;
}

/** Tasks kept: three times Linux's default pid_max. Only a record that is made up has more, and forgets the oldest. */
const TASKS_KEPT = 100_000;

/** Dead tasks kept: enough for every CPU's backlog, small against any limit. */
const DEAD_KEPT = 4096;

export class TaskTracker {
  readonly #tasks = new BoundedMap<number, Task>(TASKS_KEPT);
  readonly #dead: Task[] = [];

  /** The task with this thread id, as far as was seen. */
  get(tid: number): Task | undefined {
    return this.#tasks.get(tid);
  }

  /** The chain of parents of a process, nearest first; at most `limit`. */
  ancestors(tgid: number, limit = 16): Task[] {
    const chain: Task[] = [];
    let task = this.#tasks.get(tgid);
    while (task && chain.length < limit) {
      const parent = this.#tasks.get(task.parentTgid);
      if (!parent || parent.tgid === task.tgid) break;
      chain.push(parent);
      task = parent;
    }
    return chain;
  }

  /** Takes what a record says about tasks; other records are ignored. */
  observe(record: TraceRecord): void {
    switch (record.kind) {
      case 'task': {
        // Whoever forks is the record's own task. The parent is another for threads, io workers and CLONE_PARENT.
        const forker = record.isFork ? this.#tasks.get(record.tid) : undefined;
        this.#tasks.delete(record.taskTid);
        this.#tasks.set(record.taskTid, {
          tid: record.taskTid,
          tgid: record.tgid,
          parentTgid: record.parentTgid,
          comm: record.comm.toString('latin1'),
          uid: record.uid,
          euid: record.euid,
          isKernelThread: record.isKernelThread,
          exe: forker?.exe,
        });
        break;
      }
      case 'exec': {
        const old = this.#tasks.get(record.tid) ?? this.#tasks.get(record.tgid);
        // After exec the thread that did it is the leader, and has the leader's id.
        this.#tasks.set(record.tgid, {
          tid: record.tgid,
          tgid: record.tgid,
          parentTgid: old?.parentTgid ?? 0,
          comm: record.comm.toString('latin1'),
          uid: record.uid,
          euid: record.euid,
          isKernelThread: false,
          exe: record.path.toString('latin1'),
        });
        break;
      }
      case 'cred': {
        const old = this.#tasks.get(record.tid);
        if (old) this.#tasks.set(record.tid, { ...old, uid: record.uid, euid: record.euid });
        break;
      }
      case 'task_exit': {
        const task = this.#tasks.get(record.tid);
        if (task) this.#dead.push(task);
        if (this.#dead.length > DEAD_KEPT) this.#forget(this.#dead.shift());
        break;
      }
      default:
    }
  }

  #forget(task: Task | undefined): void {
    // Only if the id was not given to another task since.
    if (task && this.#tasks.get(task.tid) === task) this.#tasks.delete(task.tid);
  }
}
