// SPDX-License-Identifier: MIT
/** What speaks against a rebuilt disk, in the same words whoever rebuilt it: `reconstruct`, or a session. Pure. */
import { goneSince } from '../lab/run/arrived.js';
import {
  describeMismatch,
  describeWaiting,
  type Findings,
  type Mismatch,
  type Taint,
  type Waiting,
} from './control.js';
import type { PlanGap } from './plan.js';
import type { RebuildSource } from './source.js';
import { describeUnvouched, type Unvouched } from './unvouched.js';

export interface Shortfalls {
  /** Effects that are missing up to the instant; of very many gaps, the first. */
  readonly gaps: readonly PlanGap[];
  /** Inodes whose rebuilt state contradicts what is recorded of them; the first few. */
  readonly mismatches: readonly Mismatch[];
  readonly mismatchCount: bigint;
  /** What was changed up to the instant and effects do not describe; the first few. */
  readonly taints: readonly Taint[];
  readonly taintCount: bigint;
  /** The disk is older than the instant. */
  readonly waiting: Waiting | undefined;
  /** Torn tails and damaged segments of the record, in words, wherever they are: what they took out is in `gaps`. */
  readonly problems: readonly string[];
  /** The instant is the record's end, and that is not the end there was. */
  readonly isCutOff: boolean;
  /** Nothing is missing, nothing contradicts, nothing happened that effects do not describe, nothing waits. */
  readonly isVouchedFor: boolean;
}

/**
 * @param gaps those up to the instant
 * @param isEnd the instant is the record's end
 */
export function shortfallsOf(
  { run, index, problems }: Pick<RebuildSource, 'run' | 'index' | 'problems'>,
  gaps: readonly PlanGap[],
  findings: Findings,
  isEnd: boolean,
): Shortfalls {
  const { first: mismatches, mismatches: mismatchCount, taints, taintCount, waiting } = findings;
  const gone = goneSince(run.manifest.trace, index.totals);
  const isCutOff = isEnd && gone !== undefined;
  return {
    gaps,
    mismatches,
    mismatchCount,
    taints,
    taintCount,
    waiting,
    problems: [
      ...problems.map(({ segment, offset, kind, detail }) => `segment ${segment} at ${offset}: ${kind}: ${detail}`),
      ...(gone === undefined ? [] : [gone]),
    ],
    isCutOff,
    isVouchedFor: gaps.length === 0 && mismatchCount === 0n && taintCount === 0n && waiting === undefined && !isCutOff,
  };
}

/** All of it, a line each. */
export function warningsOf(of: Shortfalls & { readonly unvouched: readonly Unvouched[] }): string[] {
  return [
    ...of.problems,
    ...of.gaps.map(({ first, last }) => `effects ${first} to ${last} are missing from the record`),
    ...of.unvouched.map((one) => `not vouched for: ${describeUnvouched(one)}`),
    ...of.mismatches.map(describeMismatch),
    ...(of.waiting === undefined ? [] : [describeWaiting(of.waiting)]),
    ...of.taints.map(({ seq, text }) => `not described by effects: seq ${seq}: ${text}`),
  ];
}

/** `effects 7 to 9 are missing, 1 taint`: what of it there is; '' if the instant is vouched for. */
export function summaryOf({ gaps, mismatchCount, taintCount, waiting, problems, isCutOff }: Shortfalls): string {
  const counted = (count: bigint, one: string, more: string) =>
    count === 0n ? [] : [`${count} ${count === 1n ? one : more}`];
  const [gap] = gaps;
  const others = gaps.length > 1 ? ' and others' : '';
  return [
    ...(gap === undefined ? [] : [`effects ${gap.first} to ${gap.last}${others} are missing`]),
    ...(isCutOff ? ['the record is cut off here'] : []),
    ...(problems.length > 0 && (isCutOff || gap !== undefined) ? ['its segments are damaged'] : []),
    ...counted(mismatchCount, 'mismatch', 'mismatches'),
    ...counted(taintCount, 'taint', 'taints'),
    ...(waiting === undefined ? [] : [`effects from ${waiting.from} on wait for a birth`]),
  ].join(', ');
}
