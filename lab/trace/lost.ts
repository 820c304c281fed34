// SPDX-License-Identifier: MIT
/**
 * LOST notes: what a lost effect would have changed. The driver has no room for the effect itself any more, but keeps
 * which inode it was about and what of it, in a table that grows coarser when it is full. Each missing number is
 * counted by exactly one note (`effects`); the others of the same effect count 0.
 */
import { AT, FLAG, KIND, SIZE } from '../abi/layout.js';

/** What of an inode is meant; a sum. */
export const WHAT = {
  /** Bytes `pos` to `pos + len`, and the size if that reaches beyond it. */
  CONTENT: FLAG.LOST_CONTENT,
  TIMES: FLAG.LOST_TIMES,
  /** Mode, owner, flags, project, size, generation. */
  ATTR: FLAG.LOST_ATTR,
  /** Extended attributes, ACLs. */
  XATTR: FLAG.LOST_XATTR,
  /** Of a directory: the names in it. */
  ENTRIES: FLAG.LOST_ENTRIES,
  /** The names that lead to this inode, and its link count. */
  PLACE: FLAG.LOST_PLACE,
  ALL: FLAG.LOST_ALL,
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
  return kind === KIND.LOST && size >= SIZE.lemona_lost ? lostNoteAt(buf, off) : undefined;
}

/** The note of a LOST record that is long enough to be one. */
export function lostNoteAt(buf: Buffer, off: number): LostNote {
  const L = AT.lemona_lost;
  return {
    seqFirst: buf.readBigUInt64LE(off + L.seq_first),
    seqLast: buf.readBigUInt64LE(off + L.seq_last),
    ino: buf.readBigUInt64LE(off + L.ino),
    gen: buf.readUInt32LE(off + L.gen),
    dev: buf.readUInt32LE(off + L.dev),
    what: buf.readUInt32LE(off + L.what),
    effects: buf.readUInt32LE(off + L.effects),
    pos: buf.readBigUInt64LE(off + L.pos),
    len: buf.readBigUInt64LE(off + L.len),
  };
}

/**
 * Whether the notes speak of every missing number: `missing` counts those of the whole record, or those before a number.
 * Pure.
 */
export function notesCover(missing: bigint, notes: Iterable<LostNote>, before?: bigint): boolean {
  let counted = 0n;
  for (const note of notes) if (before === undefined || note.seqLast < before) counted += BigInt(note.effects);
  return counted >= missing;
}
