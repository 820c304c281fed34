// SPDX-License-Identifier: MIT
/**
 * Takes effects out of a run's record, as a driver in lossy mode would have lost them: their numbers are declared by LOSS
 * records, and LOST notes say what they were about.
 */
import { rename, rm } from 'node:fs/promises';
import { decodeEffect, type Effect, type MalformedEffect } from '../../lab/abi/effects.js';
import { AT, FLAG, KIND, SIZE } from '../../lab/abi/layout.js';
import { REC_KIND_SHIFT } from '../../lab/abi/records.js';
import { type LostNote, TO_THE_END, WHAT } from '../../lab/trace/lost.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { subbufCrc } from '../../lab/trace/subbuf.js';
import { walkRecords } from '../../lab/trace/walk.js';
import { writeSegments } from './run-builder.js';
import { putStruct } from './trace-builder.js';

type AnyEffect = Effect | MalformedEffect;
type Id = { readonly ino: bigint; readonly gen: number };

const NAMED = WHAT.PLACE | WHAT.ATTR | WHAT.TIMES;
const FOLDER = WHAT.ENTRIES | WHAT.ATTR | WHAT.TIMES;

/** The notes of one lost effect; the first one counts it. */
export function notesOf(effect: AnyEffect): LostNote[] {
  const { seq, dev } = effect;
  const note = (id: Id, what: number, pos = 0n, len = 0n): LostNote => ({
    ...{ seqFirst: seq, seqLast: seq, ino: id.ino, gen: id.gen, dev, what, effects: 0, pos, len },
  });
  const about = (): LostNote[] => {
    switch (effect.op) {
      case 'WRITE':
      case 'PAGE':
        return [note(effect, WHAT.CONTENT, effect.pos, BigInt(effect.len))];
      case 'SETATTR':
        if (effect.valid === 0) return [note(effect, WHAT.TIMES)];
        if ((effect.valid & FLAG.VALID_SIZE) === 0) return [note(effect, WHAT.ATTR | WHAT.TIMES)];
        return [note(effect, WHAT.ATTR | WHAT.TIMES | WHAT.CONTENT, effect.attr.size, TO_THE_END)];
      case 'CREATE':
      case 'MKNOD':
      case 'MKDIR':
      case 'SYMLINK':
      case 'TMPFILE':
        return [
          note(effect.child, WHAT.ALL, 0n, TO_THE_END),
          ...(effect.op === 'TMPFILE' ? [] : [note(effect.dir, FOLDER)]),
        ];
      case 'LINK':
      case 'UNLINK':
      case 'RMDIR':
        return [note(effect.child, NAMED), note(effect.dir, FOLDER)];
      case 'RENAME':
        return [
          note(effect.source, NAMED),
          note(effect.oldDir, FOLDER),
          note(effect.newDir, FOLDER),
          ...(effect.target.ino === 0n ? [] : [note(effect.target, NAMED)]),
        ];
      case 'FALLOCATE': {
        // Collapse and insert move all that follows.
        const len = (effect.mode & 0x28) === 0 ? effect.len : TO_THE_END;
        return [note(effect, WHAT.ATTR | WHAT.TIMES | WHAT.CONTENT, effect.offset, len)];
      }
      case 'XATTR':
        return [note(effect, WHAT.XATTR | WHAT.ATTR | WHAT.TIMES)];
      case 'TAINT':
        return [{ ...note({ ino: 0n, gen: 0 }, WHAT.ALL, 0n, TO_THE_END), dev: 0 }];
      default:
        return [note({ ino: 0n, gen: 0 }, 0)];
    }
  };
  return about().map((one, i) => (i === 0 ? { ...one, effects: 1 } : one));
}

function header(size: number, kind: number): Buffer {
  const record = Buffer.alloc(size);
  record.writeUInt32LE(size + kind * 2 ** REC_KIND_SHIFT, 0);
  return record;
}

/** A LOST record. */
export function lostRecord(note: LostNote): Buffer {
  const { seqFirst, seqLast, ...same } = note;
  const record = header(SIZE.lemona_lost, KIND.LOST);
  putStruct(record, 0, 'lemona_lost', { seq_first: seqFirst, seq_last: seqLast, ...same });
  return record;
}

function lossRecord(seq: bigint): Buffer {
  const record = header(SIZE.lemona_loss, KIND.LOSS);
  putStruct(record, 0, 'lemona_loss', { seq_first: seq, seq_last: seq, effects: 1, records: 1 });
  record.writeUInt16LE(FLAG.LOSS_LOSSY, AT.lemona_rec.code);
  return record;
}

/** A sub-buffer with other records in it: everything that follows from them is counted anew. */
function repack(original: Buffer, records: readonly Buffer[]): Buffer {
  const head = Buffer.from(original.subarray(0, SIZE.lemona_subbuf));
  const seqs = records.flatMap((record) =>
    record.readUInt32LE(0) >>> REC_KIND_SHIFT === KIND.EFFECT ? [record.readBigUInt64LE(AT.lemona_effect.seq)] : [],
  );
  const bytes = Buffer.concat([head, ...records]);
  putStruct(bytes, 0, 'lemona_subbuf', {
    length: bytes.length,
    records: records.length,
    effects: seqs.length,
    seq_first: seqs.reduce((least, seq) => (seq < least ? seq : least), seqs[0] ?? 0n),
    seq_last: seqs.reduce((most, seq) => (seq > most ? seq : most), 0n),
    crc32c: 0,
  });
  putStruct(bytes, 0, 'lemona_subbuf', { crc32c: subbufCrc(bytes, 0, bytes.length) });
  return bytes;
}

/**
 * Rewrites the segments of a run without the effects that `isLost` chooses.
 *
 * @param note what is noted of a lost effect
 * @returns the lost ones
 */
export async function loseEffects(
  runDir: string,
  isLost: (effect: AnyEffect) => boolean,
  note: (effect: AnyEffect) => readonly LostNote[] = notesOf,
): Promise<AnyEffect[]> {
  const lost: AnyEffect[] = [];
  const subbufs: Buffer[] = [];
  const folder = segmentsFolder(runDir);
  const whole = `${folder}.whole`;
  await rename(folder, whole);
  for await (const item of readSegments(whole)) {
    if (item.type !== 'subbuf') throw new Error(`${runDir}: ${item.detail}`);
    // Notes take more room than small effects: the rest goes into a second sub-buffer.
    const kept: Buffer[] = [];
    const notes: Buffer[] = [];
    walkRecords(item.bytes, item.header, (buf, off, size, kind) => {
      const record = buf.subarray(off, off + size);
      const effect = kind === KIND.EFFECT ? decodeEffect(record) : undefined;
      if (effect === undefined || !isLost(effect)) {
        kept.push(record);
        return;
      }
      lost.push(effect);
      notes.push(lossRecord(effect.seq), ...note(effect).map(lostRecord));
    });
    subbufs.push(repack(item.bytes, kept));
    if (notes.length > 0) subbufs.push(repack(item.bytes, notes));
  }
  await writeSegments(runDir, subbufs);
  await rm(whole, { recursive: true });
  return lost;
}
