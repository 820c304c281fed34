// SPDX-License-Identifier: MIT
/** Applies a plan to a disk: boots the replay VM, streams the effects into it and reads what the agent answers. */
import type { LabContext } from '../lab/util/context.js';
import { withDeadline } from '../lab/util/deadline.js';
import { AgentLink, type BeginSpec, type LinkOptions } from './agent-link.js';
import type { AgentResult, Doubt, Waiting } from './control.js';
import type { LostEffects } from './lost.js';
import type { PlanGap, PlanItem } from './plan.js';

/** An instant at which the disk is completed and shown to the caller. */
export interface Stop {
  readonly seq: bigint;
  /** The file system is frozen and complete while this runs; the disk's file may be read. */
  readonly visit: (doubts: readonly Doubt[]) => Promise<void>;
}

export interface ApplyOptions extends Omit<LinkOptions, 'onProgress'>, BeginSpec {
  readonly plan: AsyncIterable<PlanItem>;
  /** How many effects there are at most, for the progress line. */
  readonly lastSeq: bigint;
  /** What is known of missing effects. */
  readonly lost: LostEffects;
  /** Ascending by seq. */
  readonly stops?: readonly Stop[];
}

export interface ApplyResult extends AgentResult {
  readonly gaps: readonly PlanGap[];
  /** Inodes that lost effects may have changed, at the end. */
  readonly doubts: readonly Doubt[];
  /** Midway only: the disk is older than the last effect. */
  readonly waiting: Waiting | undefined;
  /** From QEMU's launch to its end. */
  readonly seconds: { readonly boot: number; readonly stream: number; readonly total: number };
}

/** Gaps listed; a run with more has nothing left to rebuild. */
const GAPS_LISTED = 10_000;

/** Streams the plan, stopping where it is wanted; the gaps that were met go to `gaps`. */
async function stream(link: AgentLink, options: ApplyOptions, gaps: PlanGap[]): ReturnType<AgentLink['end']> {
  const { plan, stops = [] } = options;
  let next = 0;
  const visitStop = async (stop: Stop) => {
    const id = next++;
    const { doubts } = await link.stop(id, `seq ${stop.seq}`);
    await stop.visit(doubts);
    await link.resume(id);
  };
  await link.begin(options);
  for await (const item of plan) {
    if (item.type === 'gap') {
      if (gaps.length < GAPS_LISTED) gaps.push(item);
    }
    const at = item.type === 'gap' ? item.first : item.seq;
    for (let stop = stops[next]; stop !== undefined && stop.seq < at; stop = stops[next]) await visitStop(stop);
    if (item.type === 'gap') {
      await link.lost(options.lost.of(item));
      continue;
    }
    const full = link.put(item.buf);
    if (full !== undefined) await full;
  }
  for (let stop = stops[next]; stop !== undefined; stop = stops[next]) await visitStop(stop);
  return link.end();
}

/**
 * Applies a plan to a disk that holds the checkpoint.
 *
 * @throws LabError LAB_REPLAY_DIVERGED at the first mismatch, unless `goOn`
 */
export async function applyPlan(
  options: ApplyOptions,
  ctx: Pick<LabContext, 'log' | 'progress' | 'signal'>,
): Promise<ApplyResult> {
  const step = ctx.progress.step('replay');
  const startedMs = performance.now();
  const gaps: PlanGap[] = [];
  let link: AgentLink | undefined;
  try {
    link = await AgentLink.launch(
      {
        ...options,
        onProgress: (p) =>
          step.update(`effect ${p.seq} of ${options.lastSeq}, ${(Number(p.bytes) / 1e6).toFixed(0)} MB of content`),
      },
      ctx,
    );
    await link.boot();
    const streamMs = performance.now();
    const result = await stream(link, options, gaps);
    const endMs = performance.now();
    // QEMU closes the disk's file on its way out; only then it is complete.
    await withDeadline(link.machine.exited, {
      label: 'the replay VM: power off',
      timeoutMs: 60_000,
      signal: ctx.signal,
    });
    step.done(`${result.applied} effects in ${((endMs - streamMs) / 1000).toFixed(1)} s`);
    return {
      ...result,
      gaps,
      seconds: {
        boot: (streamMs - startedMs) / 1000,
        stream: (endMs - streamMs) / 1000,
        total: (performance.now() - startedMs) / 1000,
      },
    };
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    for (const error of (await link?.close()) ?? []) ctx.log.warn(error.message);
  }
}
