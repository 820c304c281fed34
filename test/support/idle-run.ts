// SPDX-License-Identifier: MIT
/** Segments of a guest that idles for days: very many sub-buffers that hold next to nothing, written fast. */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { AT, SIZE } from '../../lab/abi/layout.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import {
  encodeSegmentFooter,
  encodeSegmentHeader,
  SEGMENT_LIMIT_BYTES,
  segmentName,
} from '../../lab/trace/segment-format.js';
import { Sha256x16 } from '../../lab/trace/sha256x16.js';
import { SEGMENT_CLOCK_NS } from './run-builder.js';
import * as b from './trace-builder.js';

export interface IdleRun {
  readonly cpus: number;
  readonly subbufs: number;
  /** One sub-buffer of so many holds an effect, besides its SWITCH record. */
  readonly effectEvery: number;
}

const FLUSH_NS = 50_000_000n;

/** Writes the run's segments. @returns how many effects they hold, and bytes of sub-buffers */
export async function writeIdleRun(runDir: string, run: IdleRun): Promise<{ effects: bigint; bytes: number }> {
  const H = AT.lemona_subbuf;
  const made = (effects: Buffer[]) => b.subbuf([b.switchTo(0), ...effects]);
  // One without, one with an effect; only numbers, times and checksum change from one to the next.
  const [empty, full] = [made([]), made([b.write({ seq: 1n }, 0n, 'idle')])];
  const effectAt = SIZE.lemona_subbuf + b.switchTo(0).length;
  const issued = new Array<bigint>(run.cpus).fill(0n);
  const segment = Buffer.alloc(SEGMENT_LIMIT_BYTES);
  let at = 0;
  let inSegment = 0;
  let segments = 0;
  let bytes = 0;
  let effects = 0n;
  const seal = async () => {
    encodeSegmentHeader({ number: segments, createdRealNs: SEGMENT_CLOCK_NS }).copy(segment);
    const digest = new Sha256x16().update(segment.subarray(0, at)).digest();
    const footer = encodeSegmentFooter({ bodyBytes: BigInt(at - 64), subbufs: BigInt(inSegment), digest });
    await writeFile(join(segmentsFolder(runDir), segmentName(segments++)), [segment.subarray(0, at), footer]);
    at = inSegment = 0;
  };
  await mkdir(segmentsFolder(runDir), { recursive: true });
  for (let i = 0; i < run.subbufs; i++) {
    const cpu = i % run.cpus;
    const number = BigInt((i - cpu) / run.cpus);
    const hasEffect = i % run.effectEvery === 0;
    const subbuf = hasEffect ? full : empty;
    if (at === 0) at = 64;
    issued[cpu] = (issued[cpu] ?? 0n) + (hasEffect ? 2n : 1n);
    subbuf.writeUInt16LE(cpu, H.cpu);
    subbuf.writeBigUInt64LE(number, H.number);
    subbuf.writeBigUInt64LE(number * FLUSH_NS + BigInt(cpu), H.mono_ns);
    subbuf.writeBigUInt64LE(SEGMENT_CLOCK_NS + number * FLUSH_NS, H.real_ns);
    subbuf.writeBigUInt64LE(issued[cpu] ?? 0n, H.issued);
    if (hasEffect) {
      effects++;
      for (const field of [H.seq_first, H.seq_last, effectAt + AT.lemona_effect.seq])
        subbuf.writeBigUInt64LE(effects, field);
    }
    b.reseal(subbuf).copy(segment, at);
    at += subbuf.length;
    bytes += subbuf.length;
    inSegment++;
    if (at + full.length > SEGMENT_LIMIT_BYTES) await seal();
  }
  if (inSegment > 0) await seal();
  return { effects, bytes };
}
