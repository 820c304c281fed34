// SPDX-License-Identifier: MIT
/**
 * Readers of effect records: bytes in, plain data out, no state. Every length inside a record is checked against
 * the record's size, so that bad bytes end in `malformed`, never in a throw or a read past the record.
 * Names and values are views of the given buffer: copy what outlives it.
 */
import { AT, OP, OP_NAMES, SIZE } from './layout.js';
import { XATTR_REMOVED } from './records.js';

/** Seconds since 1970 (may be negative) and nanoseconds. */
export interface Timestamp {
  readonly sec: bigint;
  readonly nsec: number;
}

/** Attributes of an inode after an effect; `ino` 0 means that there is no inode. */
export interface Attr {
  readonly ino: bigint;
  readonly gen: number;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly nlink: number;
  readonly rdev: number;
  readonly size: bigint;
  readonly atime: Timestamp;
  readonly mtime: Timestamp;
  readonly ctime: Timestamp;
  readonly btime: Timestamp;
  /** FS_*_FL */
  readonly flags: number;
  readonly projid: number;
}

/** What every effect begins with. */
export interface EffectHead {
  readonly seq: bigint;
  readonly ino: bigint;
  readonly gen: number;
  readonly dev: number;
}

export type DentryOp = 'CREATE' | 'MKNOD' | 'MKDIR' | 'SYMLINK' | 'TMPFILE' | 'LINK' | 'UNLINK' | 'RMDIR';

export type Effect = EffectHead &
  (
    | { readonly op: 'WRITE' | 'PAGE'; readonly pos: bigint; readonly len: number; readonly data: Buffer }
    | { readonly op: 'SETATTR'; readonly valid: number; readonly attr: Attr }
    | { readonly op: DentryOp; readonly child: Attr; readonly dir: Attr; readonly name: Buffer; readonly extra: Buffer }
    | {
        readonly op: 'RENAME';
        readonly renameFlags: number;
        readonly source: Attr;
        readonly oldDir: Attr;
        readonly newDir: Attr;
        readonly target: Attr;
        readonly oldName: Buffer;
        readonly newName: Buffer;
      }
    | {
        readonly op: 'FALLOCATE';
        readonly mode: number;
        readonly offset: bigint;
        readonly len: bigint;
        readonly attr: Attr;
      }
    | {
        readonly op: 'XATTR';
        readonly nameIndex: number;
        readonly name: Buffer;
        /** null: the attribute was removed */
        readonly value: Buffer | null;
        readonly attr: Attr;
      }
    | { readonly op: 'GONE' | 'NOP' }
    | {
        readonly op: 'MOUNT' | 'UMOUNT';
        readonly uuid: Buffer;
        readonly sbFlags: number;
        readonly type: Buffer;
        /** What was mounted, as its mounter called it: whatever root likes. Empty for UMOUNT. */
        readonly source: Buffer;
      }
    | { readonly op: 'MARK'; readonly label: Buffer; readonly markFlags: number }
    | { readonly op: 'TAINT'; readonly reason: number; readonly text: Buffer }
    | { readonly op: 'START'; readonly text: Buffer }
  );

/** An effect whose body does not fit its size or whose opcode is not known; its head still counts. */
export type MalformedEffect = EffectHead & { readonly op: 'MALFORMED'; readonly opcode: number; readonly why: string };

function time(buf: Buffer, off: number, which: number): Timestamp {
  return {
    sec: buf.readBigInt64LE(off + AT.lemona_attr.sec + 8 * which),
    nsec: buf.readUInt32LE(off + AT.lemona_attr.nsec + 4 * which),
  };
}

/** Reads a `struct lemona_attr` at `off`; the caller has checked that 96 bytes are there. */
export function readAttr(buf: Buffer, off: number): Attr {
  const A = AT.lemona_attr;
  return {
    ino: buf.readBigUInt64LE(off + A.ino),
    gen: buf.readUInt32LE(off + A.gen),
    mode: buf.readUInt32LE(off + A.mode),
    uid: buf.readUInt32LE(off + A.uid),
    gid: buf.readUInt32LE(off + A.gid),
    nlink: buf.readUInt32LE(off + A.nlink),
    rdev: buf.readUInt32LE(off + A.rdev),
    size: buf.readBigUInt64LE(off + A.size),
    atime: time(buf, off, 0),
    mtime: time(buf, off, 1),
    ctime: time(buf, off, 2),
    btime: time(buf, off, 3),
    flags: buf.readUInt32LE(off + A.flags),
    projid: buf.readUInt32LE(off + A.projid),
  };
}

/** Reads the common start of an effect record at `off`; the caller has checked that 40 bytes are there. */
export function readEffectHead(buf: Buffer, off = 0): EffectHead {
  const E = AT.lemona_effect;
  return {
    seq: buf.readBigUInt64LE(off + E.seq),
    ino: buf.readBigUInt64LE(off + E.ino),
    gen: buf.readUInt32LE(off + E.gen),
    dev: buf.readUInt32LE(off + E.dev),
  };
}

type Body = Exclude<Effect, never> extends infer U ? (U extends EffectHead ? Omit<U, keyof EffectHead> : never) : never;
type Reader = (buf: Buffer, off: number, size: number, op: Effect['op']) => Body | string;

/** Views of variable parts that follow the fixed part, or why they do not fit. */
function tails(buf: Buffer, off: number, fixed: number, size: number, lengths: readonly number[]): Buffer[] | string {
  const parts: Buffer[] = [];
  let at = fixed;
  for (const length of lengths) {
    if (at + length > size) return `lengths ${lengths.join('+')} after ${fixed} bytes do not fit a record of ${size}`;
    parts.push(buf.subarray(off + at, off + at + length));
    at += length;
  }
  return parts;
}

const EMPTY = Buffer.alloc(0);

const readWrite: Reader = (buf, off, size, op) => {
  const W = AT.lemona_write;
  const len = buf.readUInt32LE(off + W.len);
  const parts = tails(buf, off, SIZE.lemona_write, size, [len]);
  if (typeof parts === 'string') return parts;
  return { op: op as 'WRITE', pos: buf.readBigUInt64LE(off + W.pos), len, data: parts[0] ?? EMPTY };
};

const readDentry: Reader = (buf, off, size, op) => {
  const D = AT.lemona_dentry;
  const parts = tails(buf, off, SIZE.lemona_dentry, size, [
    buf.readUInt16LE(off + D.name_len),
    buf.readUInt16LE(off + D.extra_len),
  ]);
  if (typeof parts === 'string') return parts;
  const [name = EMPTY, extra = EMPTY] = parts;
  return { op: op as DentryOp, child: readAttr(buf, off + D.child), dir: readAttr(buf, off + D.dir), name, extra };
};

const readRename: Reader = (buf, off, size) => {
  const R = AT.lemona_rename;
  const parts = tails(buf, off, SIZE.lemona_rename, size, [
    buf.readUInt16LE(off + R.old_len),
    buf.readUInt16LE(off + R.new_len),
  ]);
  if (typeof parts === 'string') return parts;
  const [oldName = EMPTY, newName = EMPTY] = parts;
  return {
    op: 'RENAME',
    renameFlags: buf.readUInt32LE(off + R.flags),
    source: readAttr(buf, off + R.source),
    oldDir: readAttr(buf, off + R.old_dir),
    newDir: readAttr(buf, off + R.new_dir),
    target: readAttr(buf, off + R.target),
    oldName,
    newName,
  };
};

const readXattr: Reader = (buf, off, size) => {
  const X = AT.lemona_xattr;
  const valueLen = buf.readUInt32LE(off + X.value_len);
  const removed = valueLen === XATTR_REMOVED;
  const parts = tails(buf, off, SIZE.lemona_xattr, size, [buf.readUInt16LE(off + X.name_len), removed ? 0 : valueLen]);
  if (typeof parts === 'string') return parts;
  const [name = EMPTY, value = EMPTY] = parts;
  return {
    op: 'XATTR',
    nameIndex: buf.readUInt16LE(off + X.name_index),
    name,
    value: removed ? null : value,
    attr: readAttr(buf, off + X.attr),
  };
};

const readMount: Reader = (buf, off, size, op) => {
  const M = AT.lemona_mount;
  const parts = tails(buf, off, SIZE.lemona_mount, size, [
    buf.readUInt16LE(off + M.type_len),
    buf.readUInt16LE(off + M.path_len),
  ]);
  if (typeof parts === 'string') return parts;
  const [type = EMPTY, source = EMPTY] = parts;
  return {
    op: op as 'MOUNT',
    uuid: buf.subarray(off + M.uuid, off + M.uuid + 16),
    sbFlags: buf.readUInt32LE(off + M.sb_flags),
    type,
    source,
  };
};

const READERS: Readonly<Record<Effect['op'], { readonly fixed: number; readonly read: Reader }>> = {
  WRITE: { fixed: SIZE.lemona_write, read: readWrite },
  PAGE: { fixed: SIZE.lemona_write, read: readWrite },
  SETATTR: {
    fixed: SIZE.lemona_setattr,
    read: (buf, off) => ({
      op: 'SETATTR',
      valid: buf.readUInt32LE(off + AT.lemona_setattr.valid),
      attr: readAttr(buf, off + AT.lemona_setattr.attr),
    }),
  },
  CREATE: { fixed: SIZE.lemona_dentry, read: readDentry },
  MKNOD: { fixed: SIZE.lemona_dentry, read: readDentry },
  MKDIR: { fixed: SIZE.lemona_dentry, read: readDentry },
  SYMLINK: { fixed: SIZE.lemona_dentry, read: readDentry },
  TMPFILE: { fixed: SIZE.lemona_dentry, read: readDentry },
  LINK: { fixed: SIZE.lemona_dentry, read: readDentry },
  UNLINK: { fixed: SIZE.lemona_dentry, read: readDentry },
  RMDIR: { fixed: SIZE.lemona_dentry, read: readDentry },
  RENAME: { fixed: SIZE.lemona_rename, read: readRename },
  FALLOCATE: {
    fixed: SIZE.lemona_fallocate,
    read: (buf, off) => ({
      op: 'FALLOCATE',
      mode: buf.readUInt32LE(off + AT.lemona_fallocate.mode),
      offset: buf.readBigUInt64LE(off + AT.lemona_fallocate.offset),
      len: buf.readBigUInt64LE(off + AT.lemona_fallocate.len),
      attr: readAttr(buf, off + AT.lemona_fallocate.attr),
    }),
  },
  XATTR: { fixed: SIZE.lemona_xattr, read: readXattr },
  GONE: { fixed: SIZE.lemona_effect, read: () => ({ op: 'GONE' }) },
  MOUNT: { fixed: SIZE.lemona_mount, read: readMount },
  UMOUNT: { fixed: SIZE.lemona_mount, read: readMount },
  MARK: {
    fixed: SIZE.lemona_mark,
    read: (buf, off, size) => {
      const parts = tails(buf, off, SIZE.lemona_mark, size, [buf.readUInt32LE(off + AT.lemona_mark.label_len)]);
      if (typeof parts === 'string') return parts;
      return { op: 'MARK', label: parts[0] ?? EMPTY, markFlags: buf.readUInt32LE(off + AT.lemona_mark.flags) };
    },
  },
  NOP: { fixed: SIZE.lemona_effect, read: () => ({ op: 'NOP' }) },
  TAINT: {
    fixed: SIZE.lemona_taint,
    read: (buf, off, size) => {
      const parts = tails(buf, off, SIZE.lemona_taint, size, [buf.readUInt32LE(off + AT.lemona_taint.text_len)]);
      if (typeof parts === 'string') return parts;
      return { op: 'TAINT', reason: buf.readUInt32LE(off + AT.lemona_taint.reason), text: parts[0] ?? EMPTY };
    },
  },
  START: {
    fixed: SIZE.lemona_start,
    read: (buf, off, size) => {
      const parts = tails(buf, off, SIZE.lemona_start, size, [buf.readUInt32LE(off + AT.lemona_start.text_len)]);
      return typeof parts === 'string' ? parts : { op: 'START', text: parts[0] ?? EMPTY };
    },
  },
};

/**
 * Decodes one effect record.
 *
 * @param buf holds the record, header included, at `off`
 * @param size the record's size; at least 40
 */
export function decodeEffect(buf: Buffer, off = 0, size: number = buf.length - off): Effect | MalformedEffect {
  const head = readEffectHead(buf, off);
  const opcode = buf.readUInt16LE(off + AT.lemona_rec.code);
  const op = OP_NAMES[opcode];
  if (op === undefined) return { ...head, op: 'MALFORMED', opcode, why: `opcode ${opcode} is not known` };
  const { fixed, read } = READERS[op];
  if (size < fixed)
    return { ...head, op: 'MALFORMED', opcode, why: `${op} takes ${fixed} bytes, the record has ${size}` };
  const body = read(buf, off, size, op);
  if (typeof body === 'string') return { ...head, op: 'MALFORMED', opcode, why: `${op}: ${body}` };
  // A spread of two objects takes twenty times as long.
  return Object.assign(head, body) as Effect;
}

/** The names of dentry operations that bring an inode into being. */
export const BIRTH_OPS: ReadonlySet<number> = new Set([OP.CREATE, OP.MKNOD, OP.MKDIR, OP.SYMLINK, OP.TMPFILE]);
