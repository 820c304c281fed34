// SPDX-License-Identifier: MIT
/** Plans as a hostile guest would have them: effects of a small run, changed, between good control records. */
import { AT, FLAG, KIND, REC_SIZE_MASK, SIZE } from '../../lab/abi/layout.js';
import { REC_KIND_SHIFT } from '../../lab/abi/records.js';
import { BEGIN_FLAG, encodeBegin, encodeEnd, encodeLost, encodeResume, encodeStop } from '../../replay/control.js';
import { type Draft, FRAME_MAX, mutateStructure } from './mutate.js';
import type { Random } from './random.js';
import { ROOT_DEV } from './seeds.js';

/** The records of a frame that a plan takes: effects, and now and then something that has no place in it. */
function effectsOf(random: Random, { buf, length }: Draft): Buffer[] {
  const list: Buffer[] = [];
  for (let off: number = SIZE.lemona_subbuf; off + SIZE.lemona_rec <= length; ) {
    const word = buf.readUInt32LE(off);
    const size = word & REC_SIZE_MASK;
    if (size < SIZE.lemona_rec || size % 8 !== 0 || off + size > length) break;
    const isEffect = word >>> REC_KIND_SHIFT === KIND.EFFECT && size >= SIZE.lemona_effect;
    if (isEffect || random.oneIn(200)) list.push(Buffer.from(buf.subarray(off, off + size)));
    off += size;
  }
  return list;
}

/** The record with a long tail, and a length of its name, if it has one, that reaches into that. */
function swollen(random: Random, record: Buffer): Buffer {
  const tail = Buffer.alloc(8 * (1 + random.below(1000)), 'A');
  const grown = Buffer.concat([record, tail]);
  grown.writeUInt32LE(record.readUInt32LE(0) + tail.length, 0);
  if (record.length >= SIZE.lemona_dentry) grown.writeUInt16LE(random.below(tail.length), AT.lemona_dentry.name_len);
  return grown;
}

/** A plan of these effects; mismatches are counted. */
export function planOf(effects: readonly Buffer[]): Buffer {
  const flags = BEGIN_FLAG.CONTINUE + BEGIN_FLAG.TIMES_UTIMENS;
  return Buffer.concat([encodeBegin({ dev: ROOT_DEV, flags, mountOptions: '' }), ...effects, encodeEnd()]);
}

/** One plan as the agent reads it. Mismatches are counted, so that it goes on to the end. */
export function hostilePlan(random: Random, seeds: readonly Buffer[]): Buffer {
  const draft: Draft = { buf: Buffer.alloc(FRAME_MAX), length: 0 };
  const changed = 1 + random.below(5);
  const strict = random.oneIn(2) ? BEGIN_FLAG.STRICT : 0;
  const midway = random.oneIn(2) ? BEGIN_FLAG.MIDWAY : 0;
  const flags = BEGIN_FLAG.CONTINUE + BEGIN_FLAG.TIMES_UTIMENS + strict + midway;
  const parts = [encodeBegin({ dev: ROOT_DEV, flags, mountOptions: '' })];
  const order = seeds.map((frame) => ({ frame, at: random.oneIn(6) ? random.u32() : 0 }));
  if (random.oneIn(2)) order.sort((a, b) => a.at - b.at);
  let seq = 0n;
  for (const { frame } of order) {
    frame.copy(draft.buf);
    draft.length = frame.length;
    if (random.oneIn(changed)) mutateStructure(random, draft, seeds);
    for (const record of effectsOf(random, draft)) {
      // The merge hands numbers out ascending, whatever the guest did; the agent stops at others.
      if (record.length >= SIZE.lemona_effect && !random.oneIn(500))
        record.writeBigUInt64LE(++seq, AT.lemona_effect.seq);
      parts.push(random.oneIn(60) && record.length >= SIZE.lemona_effect ? swollen(random, record) : record);
    }
    if (random.oneIn(20)) parts.push(encodeStop(1), encodeResume(1));
    // The seeds' inodes, or all of them.
    if (random.oneIn(60))
      parts.push(encodeLost({ ino: BigInt(20 + random.below(5)), gen: 7, what: random.below(FLAG.LOST_ALL + 1) }));
    if (random.oneIn(500)) parts.push(encodeLost({ ino: 0n, gen: 0, what: FLAG.LOST_ALL }));
  }
  parts.push(encodeEnd());
  return Buffer.concat(parts);
}

/** Plans for the harness: each behind its length. */
export function packPlans(plans: readonly Buffer[]): Buffer {
  return Buffer.concat(
    plans.flatMap((plan) => {
      const length = Buffer.alloc(4);
      length.writeUInt32LE(plan.length);
      return [length, plan];
    }),
  );
}
