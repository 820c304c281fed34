// SPDX-License-Identifier: MIT
/**
 * Walking over the records of a sub-buffer whose checksum is good, without decoding their bodies. What does not
 * fit (a size that is no multiple of 8, or runs past the end) ends the walk and is reported.
 */
import { AT, FLAG, KIND, REC_SIZE_MASK, SIZE } from '../abi/layout.js';
import { REC_KIND_SHIFT } from '../abi/records.js';
import { type LostNote, readLost } from './lost.js';
import { SUBBUF_HEADER_BYTES, type SubbufHeader } from './subbuf.js';

const REC_BYTES: number = SIZE.lemona_rec;

/** Visitor of one record; bytes `off` to `off + size` are its own. */
export type RecordVisitor = (buf: Buffer, off: number, size: number, kind: number) => void;

/**
 * Visits each record's place.
 * @returns undefined, or why the walk ended early
 */
export function walkRecords(buf: Buffer, header: SubbufHeader, visit: RecordVisitor): string | undefined {
  let off = SUBBUF_HEADER_BYTES;
  while (off < header.length) {
    const left = header.length - off;
    const word = left >= REC_BYTES ? buf.readUInt32LE(off) : 0;
    const size = word & REC_SIZE_MASK;
    if (size < REC_BYTES || size % 8 !== 0 || size > left)
      return `record at ${off} has size ${size}, wanted a multiple of 8 from ${REC_BYTES} to ${left}`;
    const kind = word >>> REC_KIND_SHIFT;
    if (kind === KIND.EFFECT && size < SIZE.lemona_effect) return `effect at ${off} has only ${size} bytes`;
    visit(buf, off, size, kind);
    off += size;
  }
  return undefined;
}

/** A declared loss on one CPU stream. */
export interface DeclaredLoss {
  readonly cpu: number;
  readonly reason: number;
  /** 0n: no effect was lost. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  readonly effects: number;
  readonly records: number;
}

/** What a walk finds out about a sub-buffer. */
export interface Survey {
  /** Smallest and largest sequence number; 0n if there is no effect. */
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
  readonly isAscending: boolean;
  readonly losses: readonly DeclaredLoss[];
  readonly lost: readonly LostNote[];
  /** Of a part: records that are in others; and those that only say so. */
  readonly elsewhere: number;
  readonly signs: number;
  /** Of a part: what is in the whole. */
  readonly whole: WholeFacts | undefined;
  /** A broken rule 4, 5 or 6, or undefined. */
  readonly problem: string | undefined;
}

/** What PART says of the whole. */
export interface WholeFacts {
  /** It is the first record. */
  readonly isFirst: boolean;
  readonly length: number;
  readonly records: number;
  readonly effects: number;
  readonly seqFirst: bigint;
  readonly seqLast: bigint;
}

/** A broken rule 6, or undefined. Records and bytes are those of the whole that are here, and those that are not. */
function partProblem(
  header: SubbufHeader,
  here: {
    readonly records: number;
    readonly bytes: number;
    readonly elsewhere: number;
    readonly elsewhereBytes: number;
  },
  whole: WholeFacts | undefined,
): string | undefined {
  const { records, bytes, elsewhere, elsewhereBytes } = here;
  if (header.flags === 0)
    return records === header.records ? undefined : 'it is whole, and says that records are elsewhere';
  const isDisk = header.flags === FLAG.CATEGORY_DISK;
  const isPart = isDisk || header.flags === FLAG.CATEGORY_NETWORK;
  if (!isPart || whole?.isFirst !== true || (!isDisk && header.effects > 0))
    return `its flags are ${header.flags}, and it is no part of that category`;
  if (whole.records !== records + elsewhere || whole.length !== bytes + elsewhereBytes)
    return `it has ${records} records and ${elsewhere} are elsewhere; the whole has ${whole.records} in ${whole.length} bytes`;
  const isSame =
    whole.effects === header.effects && whole.seqFirst === header.seqFirst && whole.seqLast === header.seqLast;
  const mayBe = whole.effects <= elsewhere && (whole.effects === 0) === (whole.seqLast === 0n);
  if (isDisk ? !isSame : !mayBe)
    return `it can't be that the whole has ${whole.effects} effects up to ${whole.seqLast}`;
  return undefined;
}

/** Checks rules 4 to 6, and collects declared losses. */
export function surveySubbuf(buf: Buffer, header: SubbufHeader): Survey {
  let records = 0;
  let effects = 0;
  let seqFirst = 0n;
  let seqLast = 0n;
  let previous = 0n;
  let isAscending = true;
  const losses: DeclaredLoss[] = [];
  const lost: LostNote[] = [];
  let elsewhere = 0;
  let signs = 0;
  let elsewhereBytes = 0;
  let bytes = SUBBUF_HEADER_BYTES;
  let whole: WholeFacts | undefined;
  let problem = walkRecords(buf, header, (_buf, off, size, kind) => {
    records++;
    bytes += size;
    if (kind === KIND.EFFECT) {
      const seq = buf.readBigUInt64LE(off + AT.lemona_effect.seq);
      if (effects === 0 || seq < seqFirst) seqFirst = seq;
      if (effects === 0 || seq > seqLast) seqLast = seq;
      if (effects > 0 && seq <= previous) isAscending = false;
      previous = seq;
      effects++;
    } else if (kind === KIND.LOSS && size >= SIZE.lemona_loss) {
      losses.push({
        cpu: header.cpu,
        reason: buf.readUInt16LE(off + AT.lemona_rec.code),
        seqFirst: buf.readBigUInt64LE(off + AT.lemona_loss.seq_first),
        seqLast: buf.readBigUInt64LE(off + AT.lemona_loss.seq_last),
        effects: buf.readUInt32LE(off + AT.lemona_loss.effects),
        records: buf.readUInt32LE(off + AT.lemona_loss.records),
      });
    } else if (kind === KIND.PART && size >= SIZE.lemona_part) {
      signs++;
      bytes -= size;
      whole = {
        isFirst: records === 1,
        length: buf.readUInt32LE(off + AT.lemona_part.length),
        records: buf.readUInt32LE(off + AT.lemona_part.records),
        effects: buf.readUInt32LE(off + AT.lemona_part.effects),
        seqFirst: buf.readBigUInt64LE(off + AT.lemona_part.seq_first),
        seqLast: buf.readBigUInt64LE(off + AT.lemona_part.seq_last),
      };
    } else if (kind === KIND.ELSEWHERE && size >= SIZE.lemona_elsewhere) {
      signs++;
      bytes -= size;
      elsewhere += buf.readUInt32LE(off + AT.lemona_elsewhere.records);
      elsewhereBytes += buf.readUInt32LE(off + AT.lemona_elsewhere.bytes);
    } else {
      const note = readLost(buf, off, size, kind);
      if (note !== undefined) lost.push(note);
    }
  });
  if (problem === undefined && (records !== header.records || effects !== header.effects))
    problem = `holds ${records} records with ${effects} effects; its header says ${header.records} and ${header.effects}`;
  if (problem === undefined && (seqFirst !== header.seqFirst || seqLast !== header.seqLast))
    problem = `effects are ${seqFirst} to ${seqLast}; its header says ${header.seqFirst} to ${header.seqLast}`;
  problem ??= partProblem(header, { records: records - signs, bytes, elsewhere, elsewhereBytes }, whole);
  return { seqFirst, seqLast, isAscending, losses, lost, elsewhere, signs, whole, problem };
}
