// SPDX-License-Identifier: MIT
/** Plans as a hostile guest would have them: effects of a small run, changed, between good control records. */
import { AT, KIND, REC_SIZE_MASK, SIZE } from '../../lab/abi/layout.js';
import { REC_KIND_SHIFT } from '../../lab/abi/records.js';
import { BEGIN_FLAG, encodeBegin, encodeEnd, encodeResume, encodeStop } from '../../replay/control.js';
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
  const flags = BEGIN_FLAG.CONTINUE + BEGIN_FLAG.TIMES_UTIMENS + strict;
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
      parts.push(record);
    }
    if (random.oneIn(20)) parts.push(encodeStop(1), encodeResume(1));
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
