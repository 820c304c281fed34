// SPDX-License-Identifier: MIT
/**
 * Makes records and sub-buffers for tests, from the same schema that the driver's header is generated from.
 * Everything has a default, so that a test states only what it is about.
 */
import { AT, FLAG, KIND, OP, SIZE, type StructName, TLV } from '../../lab/abi/layout.js';
import { REC_KIND_SHIFT, XATTR_REMOVED } from '../../lab/abi/records.js';
import { packRecord, packSubbuf, putStruct, reseal, type Values } from '../../lab/trace/subbuf-builder.js';

function bytesOf(value: string | Buffer): Buffer {
  return typeof value === 'string' ? Buffer.from(value) : value;
}

export interface RecordOptions {
  readonly code?: number;
  readonly flags?: number;
  readonly tid?: number;
  readonly dt?: number;
}

/** A record of any kind: header, then body, padded with zeros to 8. */
export function record(kind: number, body: Buffer, options: RecordOptions = {}): Buffer {
  return packRecord(kind, body, { tid: 100, ...options });
}

/** Body of a struct that begins with the record header, without that header; `tail` follows the fixed part. */
function body(name: StructName, values: Values, tail: Buffer = Buffer.alloc(0)): Buffer {
  const buf = Buffer.alloc(SIZE[name] + tail.length);
  putStruct(buf, 0, name, values);
  tail.copy(buf, SIZE[name]);
  return buf.subarray(SIZE.lemona_rec);
}

export interface TlvOptions {
  readonly arg?: number;
  readonly trueLen?: number;
  readonly flags?: number;
}

/** One TLV with its padding. */
export function tlv(type: keyof typeof TLV, value: string | Buffer, options: TlvOptions = {}): Buffer {
  const bytes = bytesOf(value);
  const buf = Buffer.alloc(SIZE.lemona_tlv + Math.ceil(bytes.length / 8) * 8);
  putStruct(buf, 0, 'lemona_tlv', {
    type: TLV[type],
    arg: options.arg ?? 0,
    len: bytes.length,
    true_len: options.trueLen ?? bytes.length,
    flags: options.flags ?? 0,
  });
  bytes.copy(buf, SIZE.lemona_tlv);
  return buf;
}

export function entry(
  nr: number,
  args: readonly (number | bigint)[] = [],
  tlvs: readonly Buffer[] = [],
  options: RecordOptions = {},
): Buffer {
  const values = Buffer.alloc(8 * args.length);
  for (const [i, arg] of args.entries()) values.writeBigUInt64LE(BigInt.asUintN(64, BigInt(arg)), 8 * i);
  return record(KIND.ENTRY, Buffer.concat([values, ...tlvs]), {
    ...options,
    code: nr,
    flags: (options.flags ?? 0) | (args.length << FLAG.F_NARGS_SHIFT),
  });
}

export function exit(
  nr: number,
  ret: number | bigint,
  tlvs: readonly Buffer[] = [],
  options: RecordOptions = {},
): Buffer {
  return record(KIND.EXIT, body('lemona_exit', { ret }, Buffer.concat(tlvs)), { ...options, code: nr });
}

export function switchTo(nextTid: number, options: RecordOptions = {}): Buffer {
  return record(KIND.SWITCH, body('lemona_switch', { next_tid: nextTid, prev_state: 1 }), options);
}

export function task(values: Values, options: RecordOptions = {}): Buffer {
  return record(
    KIND.TASK,
    body('lemona_task', { tid: 100, tgid: 100, parent_tgid: 1, comm: 'sh', ...values }),
    options,
  );
}

export function exec(path: string | Buffer, values: Values = {}, options: RecordOptions = {}): Buffer {
  const tail = bytesOf(path);
  const fixed = { tgid: 100, ino: 12n, gen: 1, dev: 0xfe00, comm: 'sh', path_len: tail.length, ...values };
  return record(KIND.EXEC, body('lemona_exec', fixed, tail), options);
}

export function taskExit(status: number, options: RecordOptions = {}): Buffer {
  return record(KIND.TASK_EXIT, body('lemona_task_exit', { code: status, tgid: options.tid ?? 100 }), options);
}

export function cred(values: Values, options: RecordOptions = {}): Buffer {
  return record(KIND.CRED, body('lemona_cred', values), options);
}

export function fault(values: Values = {}, options: RecordOptions = {}): Buffer {
  return record(KIND.FAULT, body('lemona_fault', { ino: 12n, gen: 1, dev: 0xfe00, ...values }), options);
}

export function loss(reason: number, values: Values, options: RecordOptions = {}): Buffer {
  return record(KIND.LOSS, body('lemona_loss', values), { ...options, code: reason });
}

export function lost(values: Values, options: RecordOptions = {}): Buffer {
  return record(KIND.LOST, body('lemona_lost', { ino: 12n, gen: 1, dev: 0xfe00, ...values }), options);
}

export function uring(
  phase: number,
  opcode: number,
  values: Values = {},
  tlvs: readonly Buffer[] = [],
  options: RecordOptions = {},
): Buffer {
  const fixed = { ring: 0x1000n, user_data: 7n, request: 0x2000n, tgid: options.tid ?? 100, ...values };
  return record(KIND.URING, body('lemona_uring', fixed, Buffer.concat(tlvs)), {
    ...options,
    code: opcode,
    flags: phase,
  });
}

export function info(text: string, options: RecordOptions = {}): Buffer {
  return record(KIND.INFO, Buffer.from(text), options);
}

export function elsewhere(records: number, bytes: number): Buffer {
  return record(KIND.ELSEWHERE, body('lemona_elsewhere', { records, bytes }), { tid: 0 });
}

/** The 96 bytes of an attribute block. */
export function attr(values: Values = {}): Buffer {
  const buf = Buffer.alloc(SIZE.lemona_attr);
  putStruct(buf, 0, 'lemona_attr', {
    ino: 12n,
    gen: 1,
    mode: 0o100644,
    nlink: 1,
    sec: [1_700_000_000n, 1_700_000_001n, 1_700_000_002n, 1_700_000_003n],
    nsec: [1, 2, 3, 4],
    ...values,
  });
  return buf;
}

/** Directory attributes: the root unless told. */
export function dirAttr(values: Values = {}): Buffer {
  return attr({ ino: 2n, gen: 0, mode: 0o40755, nlink: 3, size: 4096n, ...values });
}

/** Number, object and record header of an effect. */
export interface EffectOptions extends RecordOptions {
  readonly seq: bigint;
  readonly ino?: bigint;
  readonly gen?: number;
  readonly dev?: number;
}

function effect(op: number, name: StructName, values: Values, options: EffectOptions, tail?: Buffer): Buffer {
  const rec = record(KIND.EFFECT, body(name, values, tail), { ...options, code: op });
  putStruct(rec, 0, 'lemona_effect', {
    seq: options.seq,
    ino: options.ino ?? 12n,
    gen: options.gen ?? 1,
    dev: options.dev ?? 0xfe00,
  });
  return rec;
}

export function write(
  options: EffectOptions,
  pos: bigint,
  data: string | Buffer,
  op: 'WRITE' | 'PAGE' = 'WRITE',
): Buffer {
  const bytes = bytesOf(data);
  return effect(OP[op], 'lemona_write', { pos, len: bytes.length }, options, bytes);
}

export function setattr(options: EffectOptions, valid: number, attrs: Buffer = attr()): Buffer {
  return effect(OP.SETATTR, 'lemona_setattr', { valid, attr: attrs }, options);
}

export interface DentryOptions extends EffectOptions {
  readonly name: string | Buffer;
  readonly extra?: string | Buffer;
  readonly child?: Buffer;
  readonly dir?: Buffer;
}

export function dentry(
  op: 'CREATE' | 'MKNOD' | 'MKDIR' | 'SYMLINK' | 'TMPFILE' | 'LINK' | 'UNLINK' | 'RMDIR',
  options: DentryOptions,
): Buffer {
  const name = bytesOf(options.name);
  const extra = bytesOf(options.extra ?? '');
  const values = {
    child: options.child ?? attr({ ino: options.ino ?? 12n, gen: options.gen ?? 1 }),
    dir: options.dir ?? dirAttr(),
    name_len: name.length,
    extra_len: extra.length,
  };
  return effect(OP[op], 'lemona_dentry', values, options, Buffer.concat([name, extra]));
}

export interface RenameOptions extends EffectOptions {
  readonly oldName: string | Buffer;
  readonly newName: string | Buffer;
  readonly renameFlags?: number;
  readonly source?: Buffer;
  readonly oldDir?: Buffer;
  readonly newDir?: Buffer;
  readonly target?: Buffer;
}

export function rename(options: RenameOptions): Buffer {
  const oldName = bytesOf(options.oldName);
  const newName = bytesOf(options.newName);
  const values = {
    flags: options.renameFlags ?? 0,
    old_len: oldName.length,
    new_len: newName.length,
    source: options.source ?? attr({ ino: options.ino ?? 12n, gen: options.gen ?? 1 }),
    old_dir: options.oldDir ?? dirAttr(),
    new_dir: options.newDir ?? dirAttr(),
    target: options.target ?? Buffer.alloc(SIZE.lemona_attr),
  };
  return effect(OP.RENAME, 'lemona_rename', values, options, Buffer.concat([oldName, newName]));
}

export function fallocate(
  options: EffectOptions,
  mode: number,
  offset: bigint,
  len: bigint,
  attrs: Buffer = attr(),
): Buffer {
  return effect(OP.FALLOCATE, 'lemona_fallocate', { mode, offset, len, attr: attrs }, options);
}

/** @param value null: the attribute was removed */
export function xattr(
  options: EffectOptions,
  nameIndex: number,
  name: string,
  value: string | Buffer | null,
  attrs: Buffer = attr(),
): Buffer {
  const bytes = bytesOf(value ?? '');
  const values = {
    name_index: nameIndex,
    name_len: Buffer.byteLength(name),
    value_len: value === null ? XATTR_REMOVED : bytes.length,
    attr: attrs,
  };
  return effect(OP.XATTR, 'lemona_xattr', values, options, Buffer.concat([Buffer.from(name), bytes]));
}

export function gone(options: EffectOptions): Buffer {
  return effect(OP.GONE, 'lemona_effect', {}, options);
}

export function nop(seq: bigint, options: RecordOptions = {}): Buffer {
  return effect(OP.NOP, 'lemona_effect', {}, { ...options, seq, ino: 0n, gen: 0, dev: 0 });
}

export function mount(
  op: 'MOUNT' | 'UMOUNT',
  options: EffectOptions & { readonly uuid?: Buffer },
  type: string,
  source: string,
): Buffer {
  const values = { uuid: options.uuid ?? Buffer.alloc(16, 0xab), type_len: type.length, path_len: source.length };
  return effect(OP[op], 'lemona_mount', values, options, Buffer.from(type + source));
}

export function mark(seq: bigint, label: string, options: RecordOptions = {}): Buffer {
  const tail = Buffer.from(label);
  return effect(OP.MARK, 'lemona_mark', { label_len: tail.length }, { ...options, seq, ino: 0n, gen: 0, dev: 0 }, tail);
}

export function taint(options: EffectOptions, reason: number, text: string): Buffer {
  const tail = Buffer.from(text);
  return effect(OP.TAINT, 'lemona_taint', { reason, text_len: tail.length }, options, tail);
}

export function start(seq: bigint = 1n, text = '6.12.0-lemona', options: RecordOptions = {}): Buffer {
  const tail = Buffer.from(text);
  return effect(
    OP.START,
    'lemona_start',
    { text_len: tail.length },
    { ...options, seq, ino: 0n, gen: 0, dev: 0 },
    tail,
  );
}

export interface SubbufOptions {
  readonly cpu?: number;
  readonly number?: bigint;
  readonly bootId?: bigint;
  readonly monoNs?: bigint;
  readonly realNs?: bigint;
  /** Records issued since boot; the records inside unless told. */
  readonly issued?: bigint;
  readonly dropped?: bigint;
}

/** A sub-buffer around records, with true counts, numbers and checksum. */
export function subbuf(records: readonly Buffer[], options: SubbufOptions = {}): Buffer {
  const seqs = records
    .filter((r) => r.readUInt32LE(0) >>> REC_KIND_SHIFT === KIND.EFFECT && r.length >= SIZE.lemona_effect)
    .map((r) => r.readBigUInt64LE(AT.lemona_effect.seq))
    .sort((a, b) => Number(a - b));
  return packSubbuf(records, {
    cpu: options.cpu ?? 0,
    boot_id: options.bootId ?? 0x1122334455667788n,
    number: options.number ?? 0n,
    mono_ns: options.monoNs ?? 1_000_000_000n,
    real_ns: options.realNs ?? 1_700_000_000_000_000_000n,
    seq_first: seqs[0] ?? 0n,
    seq_last: seqs.at(-1) ?? 0n,
    effects: seqs.length,
    issued: options.issued ?? BigInt(records.length),
    dropped: options.dropped ?? 0n,
  });
}

export { putStruct, reseal };
