// SPDX-License-Identifier: MIT
/**
 * The proof: compares what was rebuilt with what the guest's disk really held. Both sides are read by a host tool on
 * libext2fs, which shares no code with the rebuild.
 *
 * `verifyRun` needs one pass for all marks: the replay VM stops at each one, completes and freezes the disk, and its
 * file is compared in place while the VM waits.
 */
import { mkdtemp, rm } from 'node:fs/promises';
import path from 'node:path';
import { Child, describeExit } from '../lab/proc/child.js';
import type { MarkEntry } from '../lab/run/manifest.js';
import { exportTruth, markOfInstant, restoreCheckpoint } from '../lab/run/truth.js';
import type { LabContext } from '../lab/util/context.js';
import { ioError, LabError } from '../lab/util/errors.js';
import { Scope } from '../lab/util/scope.js';
import { DEFAULT_MEMORY_MIB, type ReplayVm } from './agent-link.js';
import { type ApplyResult, applyPlan } from './apply.js';
import type { Doubt } from './control.js';
import { lostEffects } from './lost.js';
import { memoryMiBOf } from './memory.js';
import { planEffects } from './plan.js';
import { gapsOf, markSeqsOf, openSource, rootDevOf } from './source.js';
import { allowances, hiddenBytes, type Unvouched, unvouched } from './unvouched.js';
import { type Allowance, type Comparison, compareManifests, type Difference } from './verify/compare.js';
import { readManifestLines } from './verify/lines.js';
import { listNames, writeMask } from './verify/names.js';
import { buildManifestTool } from './verify/tool.js';

export type { Difference } from './verify/compare.js';
export { LEFT_OUT } from './verify/lines.js';

/** Differences kept in the result; all of them go to `onDifference`, and all are counted. */
const DIFFERENCES_KEPT = 1000;

export interface ImageVerdict extends Comparison {
  readonly isEqual: boolean;
  /** The first ones. */
  readonly first: readonly Difference[];
  readonly seconds: number;
}

/** What is not compared. */
export interface LeftOut {
  /** What may differ where. */
  readonly allowances: ReadonlyMap<string, Allowance>;
  /** A mask for lemona-manifest: bytes that may differ. */
  readonly maskFile: string;
}

export type OnDifference = (difference: Difference) => void;

/**
 * Compares two raw ext4 images.
 *
 * @throws LabError LAB_REPLAY_FAILED if one of them can't be read, or needs journal recovery
 */
export async function verifyImages(
  rebuiltRaw: string,
  truthRaw: string,
  ctx: Pick<LabContext, 'log' | 'progress' | 'signal' | 'cacheDir'>,
  onDifference?: OnDifference,
  leftOut?: LeftOut,
): Promise<ImageVerdict> {
  const startedMs = performance.now();
  const tool = await buildManifestTool(ctx);
  const first: Difference[] = [];
  const scope = new Scope();
  try {
    const open = async (image: string, side: string) => {
      const child = await Child.spawn({
        label: `lemona-manifest (${side})`,
        argv: [tool, ...(leftOut === undefined ? [] : ['--mask', leftOut.maskFile]), image],
        stdout: 'pipe',
        dieWithParent: true,
      });
      scope.defer(`lemona-manifest (${side})`, async () => {
        await child.stop();
      });
      return child;
    };
    const rebuilt = await open(rebuiltRaw, 'rebuilt');
    const truth = await open(truthRaw, 'truth');
    const onAbort = () => {
      void rebuilt.stop();
      void truth.stop();
    };
    ctx.signal.addEventListener('abort', onAbort, { once: true });
    scope.defer('abort listener', () => ctx.signal.removeEventListener('abort', onAbort));
    let comparison: Comparison;
    try {
      comparison = await compareManifests(
        readManifestLines(rebuilt.stdout, rebuiltRaw),
        readManifestLines(truth.stdout, truthRaw),
        (difference) => {
          if (first.length < DIFFERENCES_KEPT) first.push(difference);
          onDifference?.(difference);
        },
        leftOut?.allowances,
      );
    } catch (error) {
      ctx.signal.throwIfAborted();
      // A tool that gave up says why; a manifest that was cut off is only what follows from it.
      await checkExit(rebuilt, rebuiltRaw, error);
      await checkExit(truth, truthRaw, error);
      throw error;
    }
    await checkExit(rebuilt, rebuiltRaw);
    await checkExit(truth, truthRaw);
    return {
      ...comparison,
      isEqual: comparison.differences === 0,
      first,
      seconds: (performance.now() - startedMs) / 1000,
    };
  } finally {
    for (const error of await scope.close()) ctx.log.warn(error.message);
  }
}

async function checkExit(child: Child, image: string, cause?: unknown): Promise<void> {
  const exit = await child.exited;
  // Stopped by us when the other side failed.
  if (exit.code === 0 || (cause !== undefined && exit.signal === 'SIGPIPE')) return;
  throw new LabError(
    'LAB_REPLAY_FAILED',
    `reading ${image}: ${describeExit(exit)}: ${child.outputTail() || 'no message'}`,
    {
      ...(cause === undefined ? {} : { cause }),
      next: 'e2fsck -fn on that image says more',
    },
  );
}

export interface VerifyRunOptions {
  readonly runDir: string;
  /** `mark:L` or `end`; or all marks of the run. */
  readonly at?: string;
  readonly allMarks?: boolean;
  readonly vm: () => Promise<ReplayVm>;
  readonly strict?: boolean;
  readonly onDifference?: (mark: string, difference: Difference) => void;
}

export interface MarkVerdict extends ImageVerdict {
  readonly mark: string;
  readonly seq: bigint;
  /** What lost effects may have changed, by name: not compared. */
  readonly unvouched: readonly Unvouched[];
}

export interface VerifyRunResult {
  readonly run: string;
  readonly marks: readonly MarkVerdict[];
  readonly isEqual: boolean;
  readonly differences: number;
  readonly replay: ApplyResult;
  readonly seconds: number;
  /** Of these, the replay VM's: the comparisons, for which it waits, left out. */
  readonly applySeconds: number;
}

/** Rebuilds a run at its marks, or at one of them, and compares each with its oracle. */
export async function verifyRun(options: VerifyRunOptions, ctx: LabContext): Promise<VerifyRunResult> {
  const startedMs = performance.now();
  const source = await openSource(options.runDir, ctx.signal);
  const { run, index, checkpointSeq } = source;
  const scope = new Scope();
  scope.defer('the index', () => index.close());
  try {
    const marks = marksToVerify(options, run);
    const last = marks.at(-1);
    if (last === undefined) {
      throw new LabError('LAB_NO_TRUTH', `run '${run.name}' has no marks: nothing tells what its disk really held`, {
        next: 'lemona-mark LABEL inside the guest takes one',
      });
    }
    const folder = await mkdtemp(path.join(run.dir, '.verify-')).catch((error: unknown) => {
      throw ioError(`making a working folder in ${run.dir}`, error);
    });
    scope.defer(`working folder ${folder}`, () => rm(folder, { recursive: true, force: true }));
    const rebuiltRaw = path.join(folder, 'rebuilt.raw');
    const truthRaw = path.join(folder, 'truth.raw');
    await buildManifestTool(ctx);
    await restoreCheckpoint(run, rebuiltRaw, 'raw', ctx);
    const verdicts: MarkVerdict[] = [];
    let visitMs = 0;
    const dev = await rootDevOf(source, ctx.signal);
    const gaps = await gapsOf(source, ctx.signal);
    const lost = lostEffects(gaps, index.lost, dev);
    const maskFile = path.join(folder, 'mask');
    const visit = async (mark: MarkEntry, doubts: readonly Doubt[]) => {
      const step = ctx.progress.step(`compare at mark ${mark.label}`);
      const visitStartMs = performance.now();
      try {
        await exportTruth(run, `mark:${mark.label}`, truthRaw, ctx);
        const seq = BigInt(mark.seq);
        const about = lost.upTo(seq);
        const names = about.length === 0 ? [] : await listNames(rebuiltRaw, ctx);
        const unknown = unvouched(about, doubts, names);
        await writeMask(maskFile, hiddenBytes(unknown));
        const verdict = await verifyImages(rebuiltRaw, truthRaw, ctx, (d) => options.onDifference?.(mark.label, d), {
          allowances: allowances(unknown),
          maskFile,
        });
        verdicts.push({ mark: mark.label, seq, unvouched: unknown, ...verdict });
        step.done(`${verdict.compared} names, ${verdict.bytes.truth} bytes, ${verdict.differences} differences`);
      } catch (error) {
        step.fail();
        throw error;
      } finally {
        await rm(truthRaw, { force: true });
        visitMs += performance.now() - visitStartMs;
      }
    };
    const to = BigInt(last.seq);
    const replay = await applyPlan(
      {
        vm: { ...(await options.vm()), memoryMiB: await memoryMiBOf(source, DEFAULT_MEMORY_MIB) },
        disk: { path: rebuiltRaw, format: 'raw' },
        dev,
        plan: planEffects(run.dir, index, {
          ...{ after: checkpointSeq, to, dev, marks: markSeqsOf(run) },
          signal: ctx.signal,
        }),
        lastSeq: to,
        stops: marks.map((mark) => ({ seq: BigInt(mark.seq), visit: (doubts) => visit(mark, doubts) })),
        lost,
        // Differences in the result are found by the comparison; here all of them are wanted.
        goOn: true,
        strict: options.strict ?? false,
        // Marks are taken while nothing is under way.
        midway: false,
        logFolder: folder,
      },
      ctx,
    );
    const differences = verdicts.reduce((sum, verdict) => sum + verdict.differences, 0);
    return {
      run: run.name,
      marks: verdicts,
      // Where nothing can be vouched for, nothing was compared, and that is no proof.
      isEqual:
        differences === 0 &&
        replay.mismatches === 0n &&
        verdicts.every((verdict) => !isNothingKnown(verdict.unvouched)),
      differences,
      replay,
      applySeconds: replay.seconds.stream - visitMs / 1000,
      seconds: (performance.now() - startedMs) / 1000,
    };
  } finally {
    for (const error of await scope.close()) ctx.log.warn(error.message);
  }
}

/** Effects were lost, and it is not known which. */
export function isNothingKnown(list: readonly Unvouched[]): boolean {
  return list.some(({ path: at, what }) => at === '/' && what.includes('anything'));
}

/** In the order of the record. A mark before the checkpoint (a live one's own) is the checkpoint itself. */
function marksToVerify(options: VerifyRunOptions, run: Parameters<typeof markOfInstant>[0]): MarkEntry[] {
  if (options.allMarks !== true) return [markOfInstant(run, options.at ?? 'end')];
  return [...run.manifest.marks].sort((a, b) => (BigInt(a.seq) < BigInt(b.seq) ? -1 : 1));
}
