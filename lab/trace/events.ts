// SPDX-License-Identifier: MIT
/**
 * The records of a run in order of time, filtered, with who did them: what `events` prints. Memory: one sub-buffer
 * per CPU, the table of living tasks, and a bounded table of names.
 */

import { KIND, OP, OP_NAMES } from '../abi/layout.js';
import { abiOf, syscallName } from '../abi/syscalls.js';
import { uringOpName } from '../abi/uring.js';
import { toJsonValue } from './json.js';
import { InodeNames, type RootFs } from './names.js';
import type { RecordKind, TraceRecord } from './record.js';
import { describeRecord, kindWord, renderRecord } from './render.js';
import { indexRun, type RunIndex } from './run-index.js';
import { type Task, TaskTracker } from './tasks.js';
import { displayBytes, isoFromNs } from './text.js';
import { type RecordWish, timeline } from './timeline.js';

/** All conditions must hold; one that is left out holds. */
export interface EventFilters {
  readonly kinds?: ReadonlySet<RecordKind>;
  /** Names of effects, as `WRITE`: other kinds of records are left out. */
  readonly ops?: ReadonlySet<string>;
  /** Names of system calls: entries and exits only. */
  readonly syscalls?: ReadonlySet<string>;
  /** Thread or process id. */
  readonly pid?: number;
  /** Part of a name or path that the record mentions. */
  readonly path?: string;
  /** Numbers of effects, both included: records without a number are left out. */
  readonly fromSeq?: bigint;
  readonly toSeq?: bigint;
  /** Wall clock of the guest, ns since 1970, both included. */
  readonly fromNs?: bigint;
  readonly toNs?: bigint;
  /** Stop after this many. */
  readonly limit?: number;
}

export interface TraceEvent {
  readonly record: TraceRecord;
  readonly task: Task | undefined;
  /** Parents of the task's process, nearest first. Costs time: call it only for what is shown. */
  readonly ancestors: () => Task[];
  /** Path of the inode the record is about, as far as known. */
  readonly path: string | undefined;
  /** One line, as `events` prints it. */
  readonly line: string;
}

function pathTexts(record: TraceRecord, names: InodeNames): string[] {
  switch (record.kind) {
    case 'effect': {
      const { effect } = record;
      const texts = [...names.paths(effect)];
      if ('name' in effect) texts.push(displayBytes(effect.name));
      if (effect.op === 'RENAME') texts.push(displayBytes(effect.oldName), displayBytes(effect.newName));
      return texts;
    }
    case 'exec':
      return [displayBytes(record.path)];
    case 'fault':
      return [names.path(record.dev, record.ino, record.gen)];
    case 'entry':
    case 'uring':
      return record.captures.filter((c) => c.type === 'PATH').map((c) => displayBytes(c.bytes));
    default:
      return [];
  }
}

function passes(record: TraceRecord, task: Task | undefined, names: InodeNames, f: EventFilters): boolean {
  if (f.kinds && !f.kinds.has(record.kind)) return false;
  if (f.ops && !(record.kind === 'effect' && f.ops.has(record.effect.op))) return false;
  if (f.syscalls) {
    if (record.kind !== 'entry' && record.kind !== 'exit') return false;
    if (!f.syscalls.has(syscallName(record.nr, record.abi))) return false;
  }
  if (f.pid !== undefined && record.tid !== f.pid && task?.tgid !== f.pid) return false;
  if (f.fromSeq !== undefined || f.toSeq !== undefined) {
    if (record.kind !== 'effect') return false;
    if (f.fromSeq !== undefined && record.effect.seq < f.fromSeq) return false;
    if (f.toSeq !== undefined && record.effect.seq > f.toSeq) return false;
  }
  if (f.fromNs !== undefined && record.realNs < f.fromNs) return false;
  if (f.toNs !== undefined && record.realNs > f.toNs) return false;
  if (f.path !== undefined) {
    const wanted = f.path;
    if (!pathTexts(record, names).some((text) => text.includes(wanted))) return false;
  }
  return true;
}

/** Kinds that tell who is who, and names: always decoded. */
const TRACKED: ReadonlySet<number> = new Set([KIND.TASK, KIND.EXEC, KIND.CRED, KIND.TASK_EXIT]);

/** Opcodes that carry no name: they need no decoding unless they are shown. */
const NAMELESS_OPS: ReadonlySet<number> = new Set([
  OP.WRITE,
  OP.PAGE,
  OP.SETATTR,
  OP.FALLOCATE,
  OP.XATTR,
  OP.GONE,
  OP.NOP,
]);

/** What the filters let through for certain can be told from a record's header: most records need no decoding. */
function wishOf(f: EventFilters): RecordWish {
  const effectsOnly = f.ops !== undefined || f.fromSeq !== undefined || f.toSeq !== undefined;
  return (kind, code, flags) => {
    if (TRACKED.has(kind)) return true;
    if (kind === KIND.EFFECT) {
      if (!NAMELESS_OPS.has(code)) return true;
      if (f.syscalls || (f.kinds && !f.kinds.has('effect'))) return false;
      return f.ops === undefined || f.ops.has(OP_NAMES[code] ?? '');
    }
    if (effectsOnly) return false;
    if (kind === KIND.ENTRY || kind === KIND.EXIT) {
      // A body that does not fit is of the kind `malformed`, which is seen only by decoding.
      if (f.kinds && !f.kinds.has(kind === KIND.ENTRY ? 'entry' : 'exit') && !f.kinds.has('malformed')) return false;
      return f.syscalls === undefined || f.syscalls.has(syscallName(code, abiOf(flags)));
    }
    if (f.syscalls) return false;
    return kind !== KIND.SWITCH || f.kinds === undefined || f.kinds.has('switch') || f.kinds.has('malformed');
  };
}

export interface EventsOptions {
  readonly signal?: AbortSignal;
  /** Told what the run holds, and what of it is damaged, before the first record. */
  readonly onIndex?: (index: Pick<RunIndex, 'totals' | 'problems'>) => void;
  /** Which file system is `/`; without it the first that the record speaks of. */
  readonly root?: RootFs | undefined;
}

/** Records of a run that pass the filters, in order of time. */
export async function* eventsOf(
  runDir: string,
  filters: EventFilters = {},
  { signal, onIndex, root }: EventsOptions = {},
): AsyncGenerator<TraceEvent, void, void> {
  if (filters.limit !== undefined && filters.limit <= 0) return;
  const options = signal ? { signal } : {};
  const index = await indexRun(runDir, options);
  onIndex?.(index);
  const tasks = new TaskTracker();
  const names = new InodeNames(root);
  let shown = 0;
  try {
    for await (const record of timeline(runDir, index, { wish: wishOf(filters), ...options })) {
      tasks.observe(record);
      if (record.kind === 'effect' && record.effect.op !== 'MALFORMED') names.observe(record.effect);
      const task = tasks.get(record.tid);
      if (!passes(record, task, names, filters)) continue;
      const path = record.kind === 'effect' && record.effect.ino !== 0n ? names.paths(record.effect)[0] : undefined;
      yield {
        record,
        task,
        ancestors: () => (task ? tasks.ancestors(task.tgid) : []),
        path,
        get line() {
          return renderRecord(record, tasks, names);
        },
      };
      if (++shown === filters.limit) return;
    }
  } finally {
    await index.close();
  }
}

/** The JSON form of an event: one flat object, 64-bit values as decimal strings. */
export function eventToJson(event: TraceEvent): Record<string, unknown> {
  const { record, task } = event;
  const body = record.kind === 'effect' ? { ...record, ...record.effect, effect: undefined } : record;
  return {
    time: isoFromNs(record.realNs),
    what: kindWord(record),
    comm: task === undefined ? null : displayBytes(Buffer.from(task.comm, 'latin1')),
    pid: task?.tgid ?? null,
    uid: task?.uid ?? null,
    ...(event.path === undefined ? {} : { path: event.path }),
    ...(record.kind === 'entry' || record.kind === 'exit'
      ? { syscall: syscallName(record.nr, record.abi, record.kind === 'entry') }
      : {}),
    ...(record.kind === 'uring' ? { operation: uringOpName(record.opcode) } : {}),
    text: describeRecord(record),
    ...(toJsonValue(body) as Record<string, unknown>),
  };
}
