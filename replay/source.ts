// SPDX-License-Identifier: MIT
/** What a rebuild starts from: the run's folder, the index of its record, and its root file system's identity. */
import { open } from 'node:fs/promises';
import { imageOf, type OpenRun, openRun } from '../lab/run/folder.js';
import { indexRun, type RunIndex } from '../lab/trace/run-index.js';
import type { SegmentProblem } from '../lab/trace/segment-reader.js';
import { ioError, LabError } from '../lab/util/errors.js';
import { GapSum, type Gaps } from './gaps.js';
import { lastOf, resolveInstant } from './instants.js';
import { findRootDev, planEffects } from './plan.js';

/** Close its index. */
export interface RebuildSource {
  readonly run: OpenRun;
  readonly index: RunIndex;
  /** Effects up to and including this one are in the checkpoint. */
  readonly checkpointSeq: bigint;
  /** Torn tails, cut and damaged segments. */
  readonly problems: readonly SegmentProblem[];
}

/** Bytes 0x68 to 0x77 of ext4's superblock, which stands at 1024. */
const UUID_AT = 1024 + 0x68;
const MAGIC_AT = 1024 + 0x38;
const INODES_AT = 1024;
const EXT4_MAGIC = 0xef53;

/** The start of an ext4 image, its superblock included. */
async function superblockOf(raw: string): Promise<Buffer> {
  const block = Buffer.alloc(2048);
  try {
    const file = await open(raw, 'r');
    try {
      await file.read(block, 0, block.length, 0);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw ioError(`reading the image ${raw}`, error);
  }
  if (block.readUInt16LE(MAGIC_AT) !== EXT4_MAGIC) {
    throw new LabError('LAB_RUN_CORRUPT', `${raw} holds no ext4 file system`, {
      next: './lemona build image makes the image again',
    });
  }
  return block;
}

/** The UUID in an ext4 image's superblock. */
export async function ext4Uuid(raw: string): Promise<Buffer> {
  return (await superblockOf(raw)).subarray(UUID_AT, UUID_AT + 16);
}

/** How many inodes the run's image has room for. */
export async function inodesOfImage(source: RebuildSource): Promise<number> {
  return (await superblockOf(imageOf(source.run).raw)).readUInt32LE(INODES_AT);
}

/** Opens a run for rebuilding; reads and checks all of its record once. */
export async function openSource(runDir: string, signal: AbortSignal): Promise<RebuildSource> {
  const run = await openRun(runDir);
  const checkpoint = run.manifest.checkpoints.find((candidate) => candidate.name === 'start');
  if (checkpoint === undefined) {
    throw new LabError('LAB_RUN_STATE', `run '${run.name}' has no checkpoint 'start': it is ${run.manifest.state}`, {
      next: 'only a run that came to the point of recording can be rebuilt',
    });
  }
  const index = await indexRun(run.dir, { signal });
  const [problem] = index.problems;
  if (index.totals.subbufs === 0 && problem !== undefined) {
    await index.close();
    throw new LabError(
      'LAB_RUN_CORRUPT',
      `run '${run.name}' has no record that can be read: segment ${problem.segment} at ${problem.offset}: ${problem.kind}: ${problem.detail}`,
      { next: `./lemona stats ${run.name} shows all that is wrong with it` },
    );
  }
  return { run, index, checkpointSeq: BigInt(checkpoint.seq), problems: index.problems };
}

function marksOf({ run }: RebuildSource): { readonly label: string; readonly seq: bigint }[] {
  return run.manifest.marks.map((mark) => ({ label: mark.label, seq: BigInt(mark.seq) }));
}

/** Where nothing is under way: what the plan of a rebuild takes as its marks. */
export function markSeqsOf({ manifest }: Pick<OpenRun, 'manifest'>): ReadonlySet<bigint> {
  return new Set(manifest.marks.map((mark) => BigInt(mark.seq)));
}

/** The sequence number of an instant of this run. */
export async function seqOf(source: RebuildSource, instant: string, signal: AbortSignal): Promise<bigint> {
  const { run, index, checkpointSeq } = source;
  const facts = { runName: run.name, checkpointSeq, marks: marksOf(source) };
  return resolveInstant(instant, run.dir, index, facts, signal);
}

/** The last number that is known to have been drawn. */
export function lastSeqOf(source: RebuildSource): bigint {
  return lastOf(source.index, marksOf(source));
}

/** The root file system's device number while it was recorded. */
export async function rootDevOf(source: RebuildSource, signal: AbortSignal): Promise<number> {
  return findRootDev(source.run.dir, source.index, await ext4Uuid(imageOf(source.run).raw), signal);
}

/**
 * All numbers that are missing after the checkpoint, those after the last recorded one included if their loss was
 * declared or a mark was made after them. Counting answers nearly always; only a run with holes is read for it.
 */
export async function gapsOf(source: RebuildSource, signal: AbortSignal): Promise<Gaps> {
  const { seqFirst: first, effects: count } = source.index.totals;
  const to = lastSeqOf(source);
  const gaps = new GapSum();
  if (first <= source.checkpointSeq + 1n && count === to - first + 1n) return gaps;
  const plan = planEffects(source.run.dir, source.index, { after: source.checkpointSeq, to, dev: -1, signal });
  for await (const item of plan) if (item.type === 'gap') gaps.add(item);
  return gaps;
}
