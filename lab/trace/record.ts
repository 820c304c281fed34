// SPDX-License-Identifier: MIT
/**
 * Decoding of records into plain data. Bad bytes never throw and never turn into something else: a kind that is not
 * known gives `unknown`, a body that does not fit gives `malformed`, and both say why. Strings from the guest are
 * Buffers (they may hold any byte) and are views of the sub-buffer.
 */
import { decodeEffect, type Effect, type MalformedEffect } from '../abi/effects.js';
import { AT, FLAG, KIND, REC_SIZE_MASK, SIZE, TLV_NAMES, type TlvName } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { type Abi, abiOf } from '../abi/syscalls.js';
import { type LostNote, lostNoteAt } from './lost.js';
import type { SubbufHeader } from './subbuf.js';
import { walkRecords } from './walk.js';

/** What every record has. */
export interface RecordBase {
  readonly cpu: number;
  readonly tid: number;
  readonly code: number;
  readonly flags: number;
  /** ns, monotonic clock of the guest. */
  readonly monoNs: bigint;
  /** ns since 1970, wall clock of the guest. */
  readonly realNs: bigint;
  /** Bytes, header included. */
  readonly size: number;
}

/** Captured memory of one argument. */
export interface Capture {
  readonly type: TlvName | 'UNKNOWN';
  readonly arg: number;
  readonly bytes: Buffer;
  readonly trueLen: number;
  readonly isTruncated: boolean;
  readonly isFault: boolean;
  readonly isUnstable: boolean;
}

export interface Credentials {
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly egid: number;
}

export const URING_PHASES = ['submit', 'issue', 'complete'] as const;
export type UringPhase = (typeof URING_PHASES)[number];

export type RecordBody =
  | {
      readonly kind: 'entry';
      readonly nr: number;
      readonly abi: Abi;
      readonly isDenied: boolean;
      /** Memory that should have been captured found no room. */
      readonly isCut: boolean;
      readonly args: readonly bigint[];
      readonly captures: readonly Capture[];
    }
  | {
      readonly kind: 'exit';
      readonly nr: number;
      readonly abi: Abi;
      readonly ret: bigint;
      readonly isCut: boolean;
      readonly captures: readonly Capture[];
    }
  | { readonly kind: 'switch'; readonly nextTid: number; readonly prevState: number }
  | ({
      readonly kind: 'task';
      readonly isFork: boolean;
      readonly taskTid: number;
      readonly tgid: number;
      readonly parentTgid: number;
      readonly isKernelThread: boolean;
      readonly isThread: boolean;
      readonly comm: Buffer;
    } & Credentials)
  | ({
      readonly kind: 'exec';
      readonly tgid: number;
      readonly ino: bigint;
      readonly gen: number;
      readonly dev: number;
      readonly comm: Buffer;
      readonly path: Buffer;
    } & Credentials)
  | { readonly kind: 'task_exit'; readonly status: number; readonly tgid: number }
  | ({
      readonly kind: 'cred';
      readonly suid: number;
      readonly sgid: number;
      readonly fsuid: number;
      readonly fsgid: number;
    } & Credentials)
  | {
      readonly kind: 'fault';
      readonly ino: bigint;
      readonly gen: number;
      readonly dev: number;
      readonly index: bigint;
      readonly address: bigint;
    }
  | { readonly kind: 'effect'; readonly effect: Effect | MalformedEffect }
  | {
      readonly kind: 'loss';
      readonly reason: number;
      readonly seqFirst: bigint;
      readonly seqLast: bigint;
      readonly effects: number;
      readonly records: number;
    }
  | { readonly kind: 'info'; readonly text: Buffer }
  | { readonly kind: 'part'; readonly length: number; readonly records: number; readonly effects: number }
  | { readonly kind: 'elsewhere'; readonly records: number; readonly bytes: number }
  | ({ readonly kind: 'lost' } & LostNote)
  | {
      readonly kind: 'uring';
      readonly phase: UringPhase;
      readonly opcode: number;
      readonly ring: bigint;
      readonly userData: bigint;
      readonly request: bigint;
      /** Only of `complete`. */
      readonly result: number;
      readonly tgid: number;
      readonly euid: number;
      readonly egid: number;
      readonly captures: readonly Capture[];
    }
  | { readonly kind: 'unknown'; readonly kindNumber: number; readonly body: Buffer }
  | { readonly kind: 'malformed'; readonly kindNumber: number; readonly why: string };

export type TraceRecord = RecordBase & RecordBody;
export type RecordKind = RecordBody['kind'];

/** A record that leaves one out does not compile. */
const EVERY_KIND = {
  ...{ entry: 0, exit: 0, switch: 0, task: 0, exec: 0, task_exit: 0, cred: 0, fault: 0 },
  ...{ effect: 0, loss: 0, lost: 0, uring: 0, info: 0, part: 0, elsewhere: 0, unknown: 0, malformed: 0 },
} as const satisfies Record<RecordKind, 0>;

export const RECORD_KINDS = Object.keys(EVERY_KIND) as RecordKind[];

const REC_BYTES: number = SIZE.lemona_rec;

/** A fixed char array without the zeros that pad it. */
function padded(buf: Buffer, off: number, length: number): Buffer {
  const view = buf.subarray(off, off + length);
  const end = view.indexOf(0);
  return end < 0 ? view : view.subarray(0, end);
}

function captures(buf: Buffer, from: number, end: number): Capture[] | string {
  const T = AT.lemona_tlv;
  const list: Capture[] = [];
  let off = from;
  while (off < end) {
    if (end - off < SIZE.lemona_tlv) return `${end - off} bytes left over after the TLVs`;
    const len = buf.readUInt32LE(off + T.len);
    const body = off + SIZE.lemona_tlv;
    const next = body + Math.ceil(len / 8) * 8;
    if (next > end) return `TLV of ${len} bytes where ${end - body} are left`;
    const flags = buf.readUInt32LE(off + T.flags);
    list.push({
      type: TLV_NAMES[buf.readUInt16LE(off + T.type)] ?? 'UNKNOWN',
      arg: buf.readUInt16LE(off + T.arg),
      bytes: buf.subarray(body, body + len),
      trueLen: buf.readUInt32LE(off + T.true_len),
      isTruncated: (flags & FLAG.TLV_F_TRUNCATED) !== 0,
      isFault: (flags & FLAG.TLV_F_FAULT) !== 0,
      isUnstable: (flags & FLAG.TLV_F_UNSTABLE) !== 0,
    });
    off = next;
  }
  return list;
}

type BodyReader = (buf: Buffer, off: number, size: number, code: number, flags: number) => RecordBody | string;

function credentials(buf: Buffer, uid: number, gid: number, euid: number, egid: number): Credentials {
  return {
    uid: buf.readUInt32LE(uid),
    gid: buf.readUInt32LE(gid),
    euid: buf.readUInt32LE(euid),
    egid: buf.readUInt32LE(egid),
  };
}

const BODIES: readonly ({ readonly fixed: number; readonly read: BodyReader } | undefined)[] = (() => {
  const table: ({ readonly fixed: number; readonly read: BodyReader } | undefined)[] = [];
  table[KIND.ENTRY] = {
    fixed: SIZE.lemona_entry,
    read: (buf, off, size, code, flags) => {
      const nargs = (flags & FLAG.F_NARGS_MASK) >> FLAG.F_NARGS_SHIFT;
      const tlvs = REC_BYTES + 8 * nargs;
      if (tlvs > size) return `${nargs} arguments do not fit a record of ${size} bytes`;
      const list = captures(buf, off + tlvs, off + size);
      if (typeof list === 'string') return list;
      const args: bigint[] = [];
      for (let i = 0; i < nargs; i++) args.push(buf.readBigUInt64LE(off + REC_BYTES + 8 * i));
      return {
        kind: 'entry',
        nr: code,
        abi: abiOf(flags),
        isDenied: (flags & FLAG.F_DENIED) !== 0,
        isCut: (flags & FLAG.F_CUT) !== 0,
        args,
        captures: list,
      };
    },
  };
  table[KIND.EXIT] = {
    fixed: SIZE.lemona_exit,
    read: (buf, off, size, code, flags) => {
      const list = captures(buf, off + SIZE.lemona_exit, off + size);
      if (typeof list === 'string') return list;
      return {
        kind: 'exit',
        nr: code,
        abi: abiOf(flags),
        ret: buf.readBigInt64LE(off + AT.lemona_exit.ret),
        isCut: (flags & FLAG.F_CUT) !== 0,
        captures: list,
      };
    },
  };
  table[KIND.SWITCH] = {
    fixed: SIZE.lemona_switch,
    read: (buf, off) => ({
      kind: 'switch',
      nextTid: buf.readUInt32LE(off + AT.lemona_switch.next_tid),
      prevState: buf.readUInt32LE(off + AT.lemona_switch.prev_state),
    }),
  };
  table[KIND.TASK] = {
    fixed: SIZE.lemona_task,
    read: (buf, off, _size, code) => {
      const T = AT.lemona_task;
      const taskFlags = buf.readUInt32LE(off + T.task_flags);
      return {
        kind: 'task',
        isFork: code === FLAG.TASK_FORK,
        taskTid: buf.readUInt32LE(off + T.tid),
        tgid: buf.readUInt32LE(off + T.tgid),
        parentTgid: buf.readUInt32LE(off + T.parent_tgid),
        isKernelThread: (taskFlags & FLAG.TASK_F_KTHREAD) !== 0,
        isThread: (taskFlags & FLAG.TASK_F_THREAD) !== 0,
        ...credentials(buf, off + T.uid, off + T.gid, off + T.euid, off + T.egid),
        comm: padded(buf, off + T.comm, 16),
      };
    },
  };
  table[KIND.EXEC] = {
    fixed: SIZE.lemona_exec,
    read: (buf, off, size) => {
      const X = AT.lemona_exec;
      const pathLen = buf.readUInt16LE(off + X.path_len);
      if (SIZE.lemona_exec + pathLen > size) return `path of ${pathLen} bytes does not fit a record of ${size} bytes`;
      return {
        kind: 'exec',
        tgid: buf.readUInt32LE(off + X.tgid),
        ...credentials(buf, off + X.uid, off + X.gid, off + X.euid, off + X.egid),
        ino: buf.readBigUInt64LE(off + X.ino),
        gen: buf.readUInt32LE(off + X.gen),
        dev: buf.readUInt32LE(off + X.dev),
        comm: padded(buf, off + X.comm, 16),
        path: buf.subarray(off + SIZE.lemona_exec, off + SIZE.lemona_exec + pathLen),
      };
    },
  };
  table[KIND.TASK_EXIT] = {
    fixed: SIZE.lemona_task_exit,
    read: (buf, off) => ({
      kind: 'task_exit',
      status: buf.readInt32LE(off + AT.lemona_task_exit.code),
      tgid: buf.readUInt32LE(off + AT.lemona_task_exit.tgid),
    }),
  };
  table[KIND.CRED] = {
    fixed: SIZE.lemona_cred,
    read: (buf, off) => {
      const C = AT.lemona_cred;
      return {
        kind: 'cred',
        ...credentials(buf, off + C.uid, off + C.gid, off + C.euid, off + C.egid),
        suid: buf.readUInt32LE(off + C.suid),
        sgid: buf.readUInt32LE(off + C.sgid),
        fsuid: buf.readUInt32LE(off + C.fsuid),
        fsgid: buf.readUInt32LE(off + C.fsgid),
      };
    },
  };
  table[KIND.FAULT] = {
    fixed: SIZE.lemona_fault,
    read: (buf, off) => {
      const F = AT.lemona_fault;
      return {
        kind: 'fault',
        ino: buf.readBigUInt64LE(off + F.ino),
        gen: buf.readUInt32LE(off + F.gen),
        dev: buf.readUInt32LE(off + F.dev),
        index: buf.readBigUInt64LE(off + F.index),
        address: buf.readBigUInt64LE(off + F.address),
      };
    },
  };
  table[KIND.EFFECT] = {
    fixed: SIZE.lemona_effect,
    read: (buf, off, size) => ({ kind: 'effect', effect: decodeEffect(buf, off, size) }),
  };
  table[KIND.LOSS] = {
    fixed: SIZE.lemona_loss,
    read: (buf, off, _size, code) => {
      const L = AT.lemona_loss;
      return {
        kind: 'loss',
        reason: code,
        seqFirst: buf.readBigUInt64LE(off + L.seq_first),
        seqLast: buf.readBigUInt64LE(off + L.seq_last),
        effects: buf.readUInt32LE(off + L.effects),
        records: buf.readUInt32LE(off + L.records),
      };
    },
  };
  table[KIND.LOST] = {
    fixed: SIZE.lemona_lost,
    read: (buf, off) => ({ kind: 'lost', ...lostNoteAt(buf, off) }),
  };
  table[KIND.URING] = {
    fixed: SIZE.lemona_uring,
    read: (buf, off, size, code, flags) => {
      const U = AT.lemona_uring;
      const phase = URING_PHASES[flags];
      if (phase === undefined) return `phase ${flags} of a request is unknown`;
      const list = captures(buf, off + SIZE.lemona_uring, off + size);
      if (typeof list === 'string') return list;
      return {
        kind: 'uring',
        phase,
        opcode: code,
        ring: buf.readBigUInt64LE(off + U.ring),
        userData: buf.readBigUInt64LE(off + U.user_data),
        request: buf.readBigUInt64LE(off + U.request),
        result: buf.readInt32LE(off + U.result),
        tgid: buf.readUInt32LE(off + U.tgid),
        euid: buf.readUInt32LE(off + U.euid),
        egid: buf.readUInt32LE(off + U.egid),
        captures: list,
      };
    },
  };
  table[KIND.PART] = {
    fixed: SIZE.lemona_part,
    read: (buf, off) => ({
      kind: 'part',
      length: buf.readUInt32LE(off + AT.lemona_part.length),
      records: buf.readUInt32LE(off + AT.lemona_part.records),
      effects: buf.readUInt32LE(off + AT.lemona_part.effects),
    }),
  };
  table[KIND.ELSEWHERE] = {
    fixed: SIZE.lemona_elsewhere,
    read: (buf, off) => ({
      kind: 'elsewhere',
      records: buf.readUInt32LE(off + AT.lemona_elsewhere.records),
      bytes: buf.readUInt32LE(off + AT.lemona_elsewhere.bytes),
    }),
  };
  table[KIND.INFO] = {
    fixed: SIZE.lemona_info,
    read: (buf, off, size) => ({ kind: 'info', text: padded(buf, off + REC_BYTES, size - REC_BYTES) }),
  };
  return table;
})();

/** Base times and CPU that a record's own fields are relative to. */
export type RecordContext = Pick<SubbufHeader, 'cpu' | 'monoNs' | 'realNs'>;

/**
 * Decodes the record at `off`, whose size was checked by `walkRecords`.
 */
export function decodeRecord(buf: Buffer, off: number, context: RecordContext): TraceRecord {
  const R = AT.lemona_rec;
  const word = buf.readUInt32LE(off + R.size_kind);
  const size = word & REC_SIZE_MASK;
  const kindNumber = word >>> REC_KIND_SHIFT;
  const code = buf.readUInt16LE(off + R.code);
  const flags = buf.readUInt16LE(off + R.flags);
  const dt = BigInt(buf.readUInt32LE(off + R.dt));
  const base: RecordBase = {
    cpu: context.cpu,
    tid: buf.readUInt32LE(off + R.tid),
    code,
    flags,
    monoNs: context.monoNs + dt,
    realNs: context.realNs + dt,
    size,
  };
  const reader = BODIES[kindNumber];
  if (reader === undefined)
    return { ...base, kind: 'unknown', kindNumber, body: buf.subarray(off + REC_BYTES, off + size) };
  const body =
    size < reader.fixed
      ? `takes ${reader.fixed} bytes, the record has ${size}`
      : reader.read(buf, off, size, code, flags);
  if (typeof body === 'string') return { ...base, kind: 'malformed', kindNumber, why: body };
  // Not a spread: this runs for every record, and the body was made just now for this purpose.
  return Object.assign(body, base);
}

/** Places of the records in a sub-buffer that are wished for; stops where `walkRecords` would. */
export function recordOffsets(
  bytes: Buffer,
  header: SubbufHeader,
  wish?: (kind: number, code: number, flags: number) => boolean,
): number[] {
  const R = AT.lemona_rec;
  const offsets: number[] = [];
  walkRecords(bytes, header, (buf, off, _size, kind) => {
    if (wish === undefined || wish(kind, buf.readUInt16LE(off + R.code), buf.readUInt16LE(off + R.flags)))
      offsets.push(off);
  });
  return offsets;
}

/** Decodes all records of a sub-buffer that `parseSubbuf` found good. */
export function* decodeRecords(bytes: Buffer, header: SubbufHeader): Generator<TraceRecord, void, void> {
  for (const off of recordOffsets(bytes, header)) yield decodeRecord(bytes, off, header);
}
