// SPDX-License-Identifier: MIT
/** Where a rebuild left the recorded way: what a failed test should print besides its seed. */
import path from 'node:path';
import { openRun } from '../../lab/run/folder.js';
import { exportTruth } from '../../lab/run/truth.js';
import { eventsOf } from '../../lab/trace/events.js';
import type { LabContext } from '../../lab/util/context.js';
import { describeMismatch } from '../../replay/control.js';
import type { MarkVerdict, VerifyRunResult } from '../../replay/verify.js';
import { type Inode, inodeOn } from './bad-disk.js';

/** Effects on one inode that are shown: the oldest after the last mark that was equal, and the newest. */
export const SHOWN = 12;

/** The inode on the guest's own disk, whose number and generation are those of the record. */
async function inodeOf(
  runDir: string,
  verdict: MarkVerdict,
  name: string,
  ctx: LabContext,
): Promise<Inode | undefined> {
  const raw = path.join(runDir, 'divergence.raw');
  await exportTruth(await openRun(runDir), `mark:${verdict.mark}`, raw, ctx);
  return await inodeOn(raw, name);
}

async function effectsOn(runDir: string, inode: Inode, from: bigint, to: bigint): Promise<string[]> {
  const lines: string[] = [];
  const isIt = ({ ino, gen }: Inode) => ino === inode.ino && gen === inode.gen;
  for await (const { record, line } of eventsOf(runDir, { fromSeq: from, toSeq: to })) {
    if (record.kind !== 'effect') continue;
    const { effect } = record;
    const others =
      'dir' in effect ? [effect.dir] : effect.op === 'RENAME' ? [effect.oldDir, effect.newDir, effect.target] : [];
    if (isIt(effect) || others.some(isIt)) lines.push(line.slice(0, 300));
  }
  return lines;
}

/**
 * The first effect whose result differed from the record, and of the first difference at a mark the effects on that
 * inode since the mark before, which was equal: one of them, or one that is missing among them, is to blame.
 */
export async function describeDivergence(runDir: string, result: VerifyRunResult, ctx: LabContext): Promise<string> {
  const lines: string[] = [];
  const [mismatch] = result.replay.first;
  if (mismatch !== undefined) lines.push(`first diverging effect: ${describeMismatch(mismatch)}`);
  const at = result.marks.findIndex((mark) => !mark.isEqual);
  const verdict = result.marks[at];
  const difference = verdict?.first[0];
  if (verdict === undefined || difference === undefined) return lines.join('\n');
  const { path: name, field, rebuilt, truth } = difference;
  lines.push(`first difference: mark ${verdict.mark}: ${name}: ${field}: rebuilt ${rebuilt}, truth ${truth}`);
  // A name that the truth does not have is looked for through its folder.
  const shown = field === 'name' && truth === 'absent' ? path.posix.dirname(name) : name;
  const inode = await inodeOf(runDir, verdict, shown, ctx);
  if (inode === undefined) return lines.join('\n');
  const since = result.marks[at - 1]?.seq ?? 0n;
  const effects = await effectsOn(runDir, inode, since + 1n, verdict.seq);
  lines.push(`effects on inode ${inode.ino} (${shown}) after seq ${since}, where all was equal:`);
  const left = effects.length - 2 * SHOWN;
  if (left > 0) effects.splice(SHOWN, left, `… ${left} more …`);
  return [...lines, ...effects].join('\n');
}

/** The seed whose folder the first difference is in; without one, the first seed of all. */
export function seedToBlame(result: VerifyRunResult, seeds: readonly number[]): number {
  const paths = result.marks.flatMap((mark) => mark.first.map((difference) => difference.path));
  return seeds.find((seed) => paths.some((name) => name.startsWith(`/root/play-${seed}/`))) ?? seeds[0] ?? 0;
}
