// SPDX-License-Identifier: MIT
/**
 * LOST notes: what a lost effect would have changed. The driver has no room for the effect itself any more, but keeps
 * which inode it was about and what of it, in a small table that grows coarser when it is full. Each missing number is
 * counted by exactly one note (`effects`); the others of the same effect count 0.
 */

/** Kind and fixed size of the record, and its fields' offsets. */
const KIND_LOST = 12;
const LOST_BYTES = 72;
const FIELD = {
  seqFirst: 16,
  seqLast: 24,
  ino: 32,
  gen: 40,
  dev: 44,
  what: 48,
  effects: 52,
  pos: 56,
  len: 64,
} as const;

/** What of an inode is meant; a sum. */
export const WHAT = {
  /** Bytes `pos` to `pos + len`, and the size if that reaches beyond it. */
  CONTENT: 0x1,
  TIMES: 0x2,
  /** Mode, owner, flags, project, size, generation. */
  ATTR: 0x4,
  /** Extended attributes, ACLs. */
  XATTR: 0x8,
  /** Of a directory: the names in it. */
  ENTRIES: 0x10,
  /** The names that lead to this inode, and its link count. */
  PLACE: 0x20,
  ALL: 0x3f,
  /** Not in records: the replay agent's conclusion that all of the content is meant. */
  WHOLE: 0x40,
} as const;

/** `len` of a range without an end. */
export const TO_THE_END = 0xffff_ffff_ffff_ffffn;

export interface LostNote {
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  /** 0n: any inode of that file system. */
  readonly ino: bigint;
  readonly gen: number;
  /** 0, with ino 0n: any file system. */
  readonly dev: number;
  /** Sum of WHAT. */
  readonly what: number;
  /** Lost effects that this note counts. */
  readonly effects: number;
  readonly pos: bigint;
  readonly len: bigint;
}

/** Reads the record at `off`; undefined if it is no LOST note, or too short for one. */
export function readLost(buf: Buffer, off: number, size: number, kind: number): LostNote | undefined {
  if (kind !== KIND_LOST || size < LOST_BYTES) return undefined;
  return {
    seqFirst: buf.readBigUInt64LE(off + FIELD.seqFirst),
    seqLast: buf.readBigUInt64LE(off + FIELD.seqLast),
    ino: buf.readBigUInt64LE(off + FIELD.ino),
    gen: buf.readUInt32LE(off + FIELD.gen),
    dev: buf.readUInt32LE(off + FIELD.dev),
    what: buf.readUInt32LE(off + FIELD.what),
    effects: buf.readUInt32LE(off + FIELD.effects),
    pos: buf.readBigUInt64LE(off + FIELD.pos),
    len: buf.readBigUInt64LE(off + FIELD.len),
  };
}

/** Whether the notes speak of every missing number. `missing` counts those of the whole record. Pure. */
export function notesCover(missing: bigint, notes: readonly LostNote[]): boolean {
  let counted = 0n;
  for (const note of notes) counted += BigInt(note.effects);
  return counted >= missing;
}
