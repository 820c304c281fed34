// SPDX-License-Identifier: MIT
/**
 * Both sides of the conversation with lemona-replay; replay/agent/control.h has the rules. Control records have the
 * recordings' own header, with a kind that no recording holds.
 */
import { SIZE } from '../lab/abi/layout.js';
import { REC_KIND_SHIFT } from '../lab/abi/records.js';
import { LabError } from '../lab/util/errors.js';

const CONTROL_KIND = 63;
const CODE = { BEGIN: 1, STOP: 2, RESUME: 3, END: 4, BATCH: 5, LOST: 6 } as const;

/** Largest batch on the plan disk: BATCH_MAX of control.h, the largest sub-buffer and so the largest record. */
export const BATCH_MAX_BYTES = 1024 * 1024;

export const BEGIN_FLAG = { CONTINUE: 1, STRICT: 2, TIMES_UTIMENS: 4, MIDWAY: 8 } as const;

function control(code: number, body: Buffer): Buffer {
  const used = SIZE.lemona_rec + body.length;
  const record = Buffer.alloc(Math.ceil(used / 8) * 8);
  record.writeUInt32LE(record.length + CONTROL_KIND * 2 ** REC_KIND_SHIFT, 0);
  record.writeUInt16LE(code, 4);
  body.copy(record, SIZE.lemona_rec);
  return record;
}

export interface BeginOptions {
  readonly dev: number;
  /** Sum of BEGIN_FLAG. */
  readonly flags: number;
  readonly mountOptions: string;
}

export function encodeBegin(options: BeginOptions): Buffer {
  const text = Buffer.from(options.mountOptions);
  const head = Buffer.alloc(16);
  head.writeUInt32LE(options.dev, 0);
  head.writeUInt32LE(options.flags, 4);
  head.writeUInt32LE(text.length, 8);
  return control(CODE.BEGIN, Buffer.concat([head, text]));
}

/** The next effects are at `offset` on the plan disk. */
export function encodeBatch(batch: { readonly offset: number; readonly lengthBytes: number }): Buffer {
  const body = Buffer.alloc(16);
  body.writeBigUInt64LE(BigInt(batch.offset), 0);
  body.writeUInt32LE(batch.lengthBytes, 8);
  return control(CODE.BATCH, body);
}

/** Lost effects were about an inode; `ino` 0n means every inode, `what` is a sum of WHAT. */
export function encodeLost(lost: { readonly ino: bigint; readonly gen: number; readonly what: number }): Buffer {
  const body = Buffer.alloc(16);
  body.writeBigUInt64LE(lost.ino, 0);
  body.writeUInt32LE(lost.gen, 8);
  body.writeUInt32LE(lost.what, 12);
  return control(CODE.LOST, body);
}

/** STOP_LEAN of control.h: the agent lets the page cache go, because the VM's memory is about to be saved. */
const STOP_LEAN = 1;

function withId(code: number, id: number, flags: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeBigUInt64LE(BigInt(id), 0);
  body.writeUInt32LE(flags, 8);
  return control(code, body);
}

export const encodeStop = (id: number, isLean = false): Buffer => withId(CODE.STOP, id, isLean ? STOP_LEAN : 0);
export const encodeResume = (id: number): Buffer => withId(CODE.RESUME, id, 0);
export const encodeEnd = (): Buffer => control(CODE.END, Buffer.alloc(0));

/** The first operation whose result differs from the record, or one of them. */
export interface Mismatch {
  readonly seq: bigint;
  /** Opcode by name, or `final` for the last comparison. */
  readonly op: string;
  readonly ino: bigint;
  readonly gen: number;
  readonly what: string;
  readonly wanted: string;
  readonly seen: string;
  readonly errno: number;
}

export interface Taint {
  readonly seq: bigint;
  readonly reason: number;
  readonly text: string;
}

/** An inode that lost effects may have changed, and where it is on the rebuilt disk. */
export interface Doubt {
  /** As recorded; 0n: every inode. */
  readonly ino: bigint;
  readonly gen: number;
  /** 0: it is not there. */
  readonly rebuiltIno: number;
  readonly rebuiltGen: number;
  /** Sum of WHAT. */
  readonly what: number;
}

/**
 * The disk is older than the instant: effects wait for a birth that has a later number. Of them it has only content and times, of
 * files that none of the others is about.
 */
export interface Waiting {
  /** The first of them. */
  readonly from: bigint;
  readonly op: string;
  /** What is not born yet. */
  readonly ino: bigint;
  readonly gen: number;
}

/** What the agent found up to an instant that speaks against its rebuild. */
export interface Findings {
  /** Results that differ from the record and that no lost effect explains. */
  readonly mismatches: bigint;
  /** The first few of them. */
  readonly first: readonly Mismatch[];
  /** Changes that effects do not describe. */
  readonly taintCount: bigint;
  /** The first few of them. */
  readonly taints: readonly Taint[];
  /** Midway only; the agent says it on a line of its own. */
  readonly waiting?: Waiting | undefined;
}

export interface AgentResult extends Findings {
  readonly outcome: 'complete' | 'diverged';
  readonly seq: bigint;
  readonly received: bigint;
  readonly applied: bigint;
  readonly skipped: bigint;
  /** Effects on inodes whose last name was gone: nothing a path can reach. */
  readonly unreachable: bigint;
  /** Effects that had to wait for a birth. */
  readonly heldBack: bigint;
  /** Effects that could not be applied, because lost ones keep their inode away. */
  readonly adrift: bigint;
  /** Results that differ from the record, explained by lost effects. */
  readonly explained: bigint;
  /** Content written. */
  readonly bytes: bigint;
  readonly inodesFinished: bigint;
  readonly applyNs: bigint;
  readonly finalNs: bigint;
}

export type Answer =
  | { readonly t: 'ready'; readonly settimes: boolean }
  /** A batch was read: its place on the plan disk is free. */
  | { readonly t: 'taken' }
  | ({ readonly t: 'doubt' } & Doubt)
  | ({ readonly t: 'waiting' } & Waiting)
  | { readonly t: 'progress'; readonly seq: bigint; readonly applied: bigint; readonly bytes: bigint }
  | ({ readonly t: 'stopped'; readonly id: number; readonly seq: bigint } & Findings)
  | { readonly t: 'mismatch'; readonly mismatch: Mismatch }
  | ({ readonly t: 'result' } & AgentResult)
  | { readonly t: 'fatal'; readonly seq: bigint; readonly text: string };

type Fields = Readonly<Record<string, unknown>>;

function fields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null) throw new Error(`wanted an object, got ${String(value)}`);
  return value as Fields;
}
function big(from: Fields, name: string): bigint {
  const value = from[name];
  if (typeof value !== 'string' || !/^\d+$/.test(value))
    throw new Error(`${name} is ${String(value)}, wanted a decimal string`);
  return BigInt(value);
}
function num(from: Fields, name: string): number {
  const value = from[name];
  if (typeof value !== 'number') throw new Error(`${name} is ${String(value)}, wanted a number`);
  return value;
}
function str(from: Fields, name: string): string {
  const value = from[name];
  if (typeof value !== 'string') throw new Error(`${name} is ${String(value)}, wanted a string`);
  return value;
}
function list(from: Fields, name: string): readonly unknown[] {
  const value = from[name];
  if (!Array.isArray(value)) throw new Error(`${name} is ${String(value)}, wanted a list`);
  return value;
}

function mismatchOf(value: unknown): Mismatch {
  const m = fields(value);
  return {
    seq: big(m, 'seq'),
    op: str(m, 'op'),
    ino: big(m, 'ino'),
    gen: num(m, 'gen'),
    what: str(m, 'what'),
    wanted: str(m, 'wanted'),
    seen: str(m, 'seen'),
    errno: num(m, 'errno'),
  };
}

function taintOf(value: unknown): Taint {
  const t = fields(value);
  return { seq: big(t, 'seq'), reason: num(t, 'reason'), text: str(t, 'text') };
}

/** Reads them from an answer, or from where they were written in that form. */
export function findingsOf(value: unknown): Findings {
  const f = fields(value);
  return {
    mismatches: big(f, 'mismatches'),
    first: list(f, 'first').map(mismatchOf),
    taintCount: big(f, 'taintCount'),
    taints: list(f, 'taints').map(taintOf),
    waiting: f.waiting === undefined ? undefined : waitingOf(fields(f.waiting)),
  };
}

function waitingOf(f: Fields): Waiting {
  return { from: big(f, 'from'), op: str(f, 'op'), ino: big(f, 'ino'), gen: num(f, 'gen') };
}

function resultOf(f: Fields): AgentResult {
  const outcome = str(f, 'outcome');
  if (outcome !== 'complete' && outcome !== 'diverged') throw new Error(`outcome is ${outcome}`);
  return {
    outcome,
    seq: big(f, 'seq'),
    received: big(f, 'received'),
    applied: big(f, 'applied'),
    skipped: big(f, 'skipped'),
    unreachable: big(f, 'unreachable'),
    heldBack: big(f, 'heldBack'),
    adrift: big(f, 'adrift'),
    explained: big(f, 'explained'),
    bytes: big(f, 'bytes'),
    inodesFinished: big(f, 'inodesFinished'),
    applyNs: big(f, 'applyNs'),
    finalNs: big(f, 'finalNs'),
    ...findingsOf(f),
  };
}

/** Reads one line of the agent; anything else is a broken contract. */
export function parseAnswer(line: string): Answer {
  try {
    const f = fields(JSON.parse(line));
    switch (f.t) {
      case 'ready':
        return { t: 'ready', settimes: f.settimes === true };
      case 'taken':
        return { t: 'taken' };
      case 'doubt':
        return {
          t: 'doubt',
          ino: big(f, 'ino'),
          gen: num(f, 'gen'),
          rebuiltIno: num(f, 'rebuiltIno'),
          rebuiltGen: num(f, 'rebuiltGen'),
          what: num(f, 'what'),
        };
      case 'waiting':
        return { t: 'waiting', ...waitingOf(f) };
      case 'progress':
        return { t: 'progress', seq: big(f, 'seq'), applied: big(f, 'applied'), bytes: big(f, 'bytes') };
      case 'stopped':
        return { t: 'stopped', id: Number(big(f, 'id')), seq: big(f, 'seq'), ...findingsOf(f) };
      case 'mismatch':
        return { t: 'mismatch', mismatch: mismatchOf(f.mismatch) };
      case 'result':
        return { t: 'result', ...resultOf(f) };
      case 'fatal':
        return { t: 'fatal', seq: big(f, 'seq'), text: str(f, 'text') };
      default:
        throw new Error(`t is ${String(f.t)}`);
    }
  } catch (error) {
    throw new LabError('LAB_BUG', `lemona-replay said ${JSON.stringify(line.slice(0, 200))}`, { cause: error });
  }
}

/** Says where the disk stands, and what would help. */
export function describeWaiting({ from, op, ino, gen }: Waiting): string {
  return (
    `the disk is older: effect ${from} (${op}) and those behind it wait for the birth of inode ${ino}/${gen}, ` +
    `whose number is higher, unless it is missing; a little later nothing waits`
  );
}

/** `WRITE 17 on inode 12/99: pwrite: wanted success, seen No space left on device (errno 28)` */
export function describeMismatch(m: Mismatch): string {
  return `${m.op} ${m.seq} on inode ${m.ino}/${m.gen}: ${m.what}: wanted ${m.wanted}, seen ${m.seen}${m.errno === 0 ? '' : ` (errno ${m.errno})`}`;
}
