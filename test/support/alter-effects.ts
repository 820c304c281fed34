// SPDX-License-Identifier: MIT
/** Changes effects of a recorded run in place, so that nothing but the disk shows it: numbers, counts and checksums fit. */
import { rm } from 'node:fs/promises';
import { decodeEffect, type Effect, type MalformedEffect } from '../../lab/abi/effects.js';
import { AT, KIND, OP } from '../../lab/abi/layout.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { walkRecords } from '../../lab/trace/walk.js';
import { writeSegments } from './run-builder.js';
import { putStruct, reseal } from './trace-builder.js';

/** Makes a record one of a number that was drawn and not used. */
export function makeNop(record: Buffer): void {
  record.writeUInt16LE(OP.NOP, AT.lemona_rec.code);
  putStruct(record, 0, 'lemona_effect', { ino: 0n, gen: 0, dev: 0 });
}

/**
 * Rewrites the segments of a run.
 *
 * @param isIt which effects
 * @param alter changes the bytes of one
 * @returns what they were
 */
export async function alterEffects(
  runDir: string,
  isIt: (effect: Effect | MalformedEffect) => boolean,
  alter: (record: Buffer) => void,
): Promise<(Effect | MalformedEffect)[]> {
  const found: (Effect | MalformedEffect)[] = [];
  const subbufs: Buffer[] = [];
  const folder = segmentsFolder(runDir);
  for await (const item of readSegments(folder)) {
    if (item.type !== 'subbuf') throw new Error(`${runDir}: ${item.detail}`);
    const bytes = Buffer.from(item.bytes);
    walkRecords(bytes, item.header, (buf, off, size, kind) => {
      if (kind !== KIND.EFFECT) return;
      const record = buf.subarray(off, off + size);
      const effect = decodeEffect(Buffer.from(record));
      if (!isIt(effect)) return;
      found.push(effect);
      alter(record);
    });
    subbufs.push(reseal(bytes));
  }
  await rm(folder, { recursive: true });
  await writeSegments(runDir, subbufs);
  return found;
}
