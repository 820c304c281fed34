// SPDX-License-Identifier: MIT
/** Reads a recorded group of ways: which effects and calls each had, and who made them, as the record alone tells. */
import type { Effect } from '../../lab/abi/effects.js';
import { KIND } from '../../lab/abi/layout.js';
import { syscallName } from '../../lab/abi/syscalls.js';
import { URING_FIELDS, uringOpName } from '../../lab/abi/uring.js';
import type { MarkEntry } from '../../lab/run/manifest.js';
import { requestText } from '../../lab/trace/calls.js';
import { InodeNames } from '../../lab/trace/names.js';
import type { TraceRecord } from '../../lab/trace/record.js';
import type { RunIndex } from '../../lab/trace/run-index.js';
import { type Task, TaskTracker } from '../../lab/trace/tasks.js';
import { timeline } from '../../lab/trace/timeline.js';
import { WAYS_DIR, type Way } from './ways.js';

/** What was seen of one way. */
export interface Seen {
  /** Effects on the files in its folder. */
  readonly ops: Map<Effect['op'], number>;
  /** System calls that its processes entered. */
  readonly calls: Set<string>;
  /** Requests of io_uring by operation, as `mkdirat`: records of each phase, and of those that ended, the good ends. */
  readonly requests: Map<string, { submit: number; issue: number; complete: number; good: number }>;
  /** What they led to when they were submitted, the entries of the queue themselves left out: `mkdirat addr="d"`. */
  readonly captured: Set<string>;
  /** Effective users that its requests ran as. */
  readonly euids: Set<number>;
  /** Effects on its files by threads that are not their process's first: what io workers are. */
  byThreads: number;
  /** Effects on its files by kernel threads of the right name. */
  byKernelThreads: number;
  /** What is wrong, in words; the first few, and how many in all. */
  readonly strangers: string[];
  strangersCount: number;
}

const SQE = URING_FIELDS.indexOf('sqe');
const STRANGERS_SHOWN = 5;
const WANTED: ReadonlySet<number> = new Set([
  KIND.TASK,
  KIND.EXEC,
  KIND.CRED,
  KIND.TASK_EXIT,
  KIND.EFFECT,
  KIND.ENTRY,
  KIND.URING,
]);

/** Which way was going on when an effect got its number: each ends with the mark of its name. */
export function wayAt(ways: readonly Way[], marks: readonly MarkEntry[], seq: bigint): string | undefined {
  const ends = ways.flatMap(({ name }) => marks.filter((mark) => mark.label === name));
  return ends.find((mark) => seq <= BigInt(mark.seq))?.label;
}

/** The way whose folder a path is in; the folder itself is in none. */
export function wayOfPath(ways: readonly Way[], file: string): Way | undefined {
  const parts = file.split('/');
  const at = parts.indexOf('w');
  return parts.length > at + 2 && at >= 0 ? ways.find(({ name }) => name === parts[at + 1]) : undefined;
}

/** Processes by the way they belong to: whoever executed its program, and all that were forked from it since. */
class Owners {
  readonly #wayOf = new Map<number, string>();

  observe(record: TraceRecord, tasks: TaskTracker): void {
    if (record.kind === 'task' && record.isFork && record.taskTid === record.tgid) {
      // Who forks is not always the parent: CLONE_PARENT.
      const way = this.#wayOf.get(tasks.get(record.tid)?.tgid ?? 0);
      if (way === undefined) this.#wayOf.delete(record.tgid);
      else this.#wayOf.set(record.tgid, way);
    } else if (record.kind === 'exec') {
      const file = record.path.toString('latin1');
      if (file.startsWith(`${WAYS_DIR}/bin/`)) this.#wayOf.set(record.tgid, file.slice(`${WAYS_DIR}/bin/`.length));
    }
  }

  of(tgid: number): string | undefined {
    return this.#wayOf.get(tgid);
  }
}

function describeTask(tid: number, task: Task | undefined): string {
  if (task === undefined) return `thread ${tid}, which no record introduces`;
  const kind = task.isKernelThread ? 'kernel thread' : 'thread';
  return `${kind} ${tid} '${task.comm}' of process ${task.tgid}${task.exe === undefined ? '' : ` (${task.exe})`}`;
}

/** @param isOwn whether the task that the record is of belongs to the process that the request is of */
function observeRequest(
  record: Extract<TraceRecord, { kind: 'uring' }>,
  counts: Seen | undefined,
  isOwn: boolean,
): void {
  if (counts === undefined) return;
  const name = uringOpName(record.opcode);
  const led = record.captures.filter(({ arg }) => arg !== SQE);
  if (led.length > 0) counts.captured.add(`${name}${requestText(record.opcode, led)}`);
  const row = counts.requests.get(name) ?? { submit: 0, issue: 0, complete: 0, good: 0 };
  counts.requests.set(name, row);
  // A result may be posted by whoever finds that the work is done.
  if (isOwn || record.phase === 'complete') row[record.phase]++;
  if (record.phase === 'complete' && record.result >= 0) row.good++;
  if (record.phase === 'issue') counts.euids.add(record.euid);
}

/** One pass over the record. @param rootDev the traced file system's device number in the recording */
export async function readActors(
  runDir: string,
  index: RunIndex,
  ways: readonly Way[],
  rootDev: number,
): Promise<ReadonlyMap<string, Seen>> {
  const seen = new Map<string, Seen>();
  for (const { name } of ways) {
    seen.set(name, {
      ops: new Map(),
      calls: new Set(),
      requests: new Map(),
      captured: new Set(),
      euids: new Set(),
      byThreads: 0,
      byKernelThreads: 0,
      strangers: [],
      strangersCount: 0,
    });
  }
  const tasks = new TaskTracker();
  const owners = new Owners();
  const names = new InodeNames();
  for await (const record of timeline(runDir, index, { wish: (kind) => WANTED.has(kind) })) {
    tasks.observe(record);
    owners.observe(record, tasks);
    const task = tasks.get(record.tid);
    const owner = task === undefined ? undefined : owners.of(task.tgid);
    if (record.kind === 'entry' && owner !== undefined) seen.get(owner)?.calls.add(syscallName(record.nr, record.abi));
    if (record.kind === 'uring')
      observeRequest(record, seen.get(owners.of(record.tgid) ?? ''), record.tgid === task?.tgid);
    if (record.kind !== 'effect') continue;
    const { effect } = record;
    if (effect.op === 'MALFORMED') throw new Error(`effect ${effect.seq} is malformed: ${effect.why}`);
    names.observe(effect);
    if (effect.dev !== rootDev || effect.ino === 0n) continue;
    const file = names.path(effect.dev, effect.ino, effect.gen);
    const way = wayOfPath(ways, file);
    const counts = way === undefined ? undefined : seen.get(way.name);
    if (way === undefined || counts === undefined) continue;
    counts.ops.set(effect.op, (counts.ops.get(effect.op) ?? 0) + 1);
    const isOurs = owner === way.name || (owner !== undefined && way.programs?.includes(owner) === true);
    const isHelper = task?.isKernelThread === true && way.kernelThreads?.test(task.comm) === true;
    if (isOurs && task !== undefined && task.tid !== task.tgid) counts.byThreads++;
    if (isHelper) counts.byKernelThreads++;
    // Gone is gone when the last reference is dropped, which may be that of the driver's own thread.
    if (isOurs || isHelper || effect.op === 'GONE') continue;
    counts.strangersCount++;
    if (counts.strangers.length < STRANGERS_SHOWN)
      counts.strangers.push(`effect ${effect.seq}, ${effect.op} of ${file}, is by ${describeTask(record.tid, task)}`);
  }
  return seen;
}
