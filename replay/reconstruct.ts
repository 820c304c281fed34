// SPDX-License-Identifier: MIT
/**
 * Rebuilds a run's disk at an instant: restores the checkpoint, applies the effects, and puts the finished image in
 * place under its name. What was there under that name stays until then.
 */
import { mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import path from 'node:path';
import { convertImage } from '../lab/run/disk.js';
import { restoreCheckpoint } from '../lab/run/truth.js';
import type { LabContext } from '../lab/util/context.js';
import { ioError } from '../lab/util/errors.js';
import { withStep } from '../lab/util/progress.js';
import { Scope } from '../lab/util/scope.js';
import { DEFAULT_MEMORY_MIB, type ReplayVm } from './agent-link.js';
import { type ApplyResult, applyPlan } from './apply.js';
import { lostEffects } from './lost.js';
import { memoryMiBOf } from './memory.js';
import { planEffects } from './plan.js';
import { type Shortfalls, shortfallsOf } from './shortfalls.js';
import { gapsOf, lastSeqOf, markSeqsOf, openSource, rootDevOf, seqOf } from './source.js';
import { type Unvouched, unvouched } from './unvouched.js';
import { listNames } from './verify/names.js';

export interface ReconstructOptions {
  readonly runDir: string;
  /** `start`, `end`, `mark:L`, `seq:N`, an ISO time, `+12.5s`. */
  readonly at: string;
  readonly output: string;
  readonly format: 'raw' | 'qcow2';
  /** What the replay VM boots; asked for only if there is anything to apply. */
  readonly vm: () => Promise<ReplayVm>;
  /** Count mismatches and go on. A gap in the record implies it: what follows may not fit. */
  readonly goOn?: boolean;
  readonly strict?: boolean;
}

export interface ReconstructResult extends Shortfalls {
  readonly output: string;
  readonly format: 'raw' | 'qcow2';
  readonly at: string;
  readonly seq: bigint;
  readonly checkpointSeq: bigint;
  readonly effects: bigint;
  readonly bytes: bigint;
  /** `apply` is all of the VM's work after its boot; `complete`, of that, the final pass, the sync and the unmount. */
  readonly seconds: {
    readonly total: number;
    readonly boot: number;
    readonly apply: number;
    readonly complete: number;
  };
  /** Effects a second while they were applied, the final pass included. */
  readonly effectsPerSecond: number;
  /** Content, in bytes a second, over the same time. */
  readonly bytesPerSecond: number;
  /** What missing effects may have changed, by name: the image is no proof for that. All else is as recorded. */
  readonly unvouched: readonly Unvouched[];
  /** Effects on inodes that no path could reach any more. */
  readonly unreachable: bigint;
}

/** What a rebuild that has nothing to apply found. */
const NOTHING: Pick<
  ApplyResult,
  'applied' | 'bytes' | 'first' | 'mismatches' | 'taints' | 'taintCount' | 'unreachable' | 'gaps' | 'waiting'
> = {
  applied: 0n,
  bytes: 0n,
  first: [],
  mismatches: 0n,
  taints: [],
  taintCount: 0n,
  unreachable: 0n,
  gaps: [],
  waiting: undefined,
};

/**
 * Rebuilds.
 *
 * @throws LabError LAB_REPLAY_DIVERGED at the first operation whose result differs from the record
 */
export async function reconstruct(options: ReconstructOptions, ctx: LabContext): Promise<ReconstructResult> {
  const startedMs = performance.now();
  const source = await openSource(options.runDir, ctx.signal);
  const { run, index, checkpointSeq } = source;
  const output = path.resolve(options.output);
  const scope = new Scope();
  scope.defer('the index', () => index.close());
  try {
    const seq = await seqOf(source, options.at, ctx.signal);
    const folder = await workFolder(output);
    scope.defer(`working folder ${folder}`, () => rm(folder, { recursive: true, force: true }));
    const disk = { path: path.join(folder, 'disk'), format: options.format };
    await withStep(ctx.progress, 'restore the checkpoint', () => restoreCheckpoint(run, disk.path, disk.format, ctx));
    let unknown: readonly Unvouched[] = [];
    let applied: typeof NOTHING & Partial<ApplyResult> = NOTHING;
    if (seq > checkpointSeq) {
      const dev = await rootDevOf(source, ctx.signal);
      const marks = markSeqsOf(run);
      const lost = lostEffects(await gapsOf(source, ctx.signal), index.lost, dev);
      const about = lost.upTo(seq);
      applied = await applyPlan(
        {
          vm: { ...(await options.vm()), memoryMiB: await memoryMiBOf(source, DEFAULT_MEMORY_MIB) },
          disk,
          dev,
          plan: planEffects(run.dir, index, { after: checkpointSeq, to: seq, dev, marks, signal: ctx.signal }),
          lastSeq: seq,
          lost,
          goOn: options.goOn === true || about.length > 0,
          strict: options.strict ?? false,
          // Only where a mark was taken is nothing under way.
          midway: !marks.has(seq),
          logFolder: folder,
        },
        ctx,
      );
      if (about.length > 0) {
        const raw = options.format === 'raw' ? disk.path : path.join(folder, 'names.raw');
        if (raw !== disk.path) await convertImage({ file: disk.path, format: 'qcow2' }, raw, 'raw', ctx.signal);
        unknown = unvouched(about, applied.doubts ?? [], await listNames(raw, ctx));
      }
    }
    if (options.format === 'qcow2') {
      // The overlay leans on the cached image; what is handed out must stand alone.
      await convertImage({ file: disk.path, format: 'qcow2' }, output, 'qcow2', ctx.signal);
    } else {
      await moveInto(disk.path, output);
    }
    const isEnd = options.at === 'end' || (options.at !== 'start' && seq >= lastSeqOf(source));
    const applySeconds = applied.seconds?.stream ?? 0;
    return {
      output,
      format: options.format,
      at: options.at,
      seq,
      checkpointSeq,
      effects: applied.applied,
      bytes: applied.bytes,
      seconds: {
        total: (performance.now() - startedMs) / 1000,
        boot: applied.seconds?.boot ?? 0,
        apply: applySeconds,
        complete: Number(applied.finalNs ?? 0n) / 1e9,
      },
      ...rateOf(applied, applySeconds),
      ...shortfallsOf(source, applied.gaps, applied, isEnd),
      unvouched: unknown,
      unreachable: applied.unreachable,
    };
  } finally {
    for (const error of await scope.close()) ctx.log.warn(error.message);
  }
}

/** How fast effects and their content were applied, the final pass and the unmount included. */
export function rateOf(
  applied: Pick<ApplyResult, 'applied' | 'bytes'>,
  seconds: number,
): { readonly effectsPerSecond: number; readonly bytesPerSecond: number } {
  const per = (amount: bigint) => (seconds > 0 ? Math.round(Number(amount) / seconds) : 0);
  return { effectsPerSecond: per(applied.applied), bytesPerSecond: per(applied.bytes) };
}

/** `27,997 effects/s, 2.0 MB/s` */
export function describeRate(rate: ReturnType<typeof rateOf>): string {
  return `${rate.effectsPerSecond.toLocaleString('en')} effects/s, ${(rate.bytesPerSecond / 1e6).toFixed(1)} MB/s`;
}

/** A folder beside the output, so that the finished image only has to be renamed. */
async function workFolder(output: string): Promise<string> {
  try {
    await mkdir(path.dirname(output), { recursive: true });
    return await mkdtemp(path.join(path.dirname(output), `.${path.basename(output)}.`));
  } catch (error) {
    throw ioError(`making a working folder beside ${output}`, error);
  }
}

async function moveInto(from: string, output: string): Promise<void> {
  try {
    await rename(from, output);
  } catch (error) {
    throw ioError(`putting the finished image in place as ${output}`, error);
  }
}
