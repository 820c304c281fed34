// SPDX-License-Identifier: MIT
/** All gaps of a record, summed up: there may be as many as effects. */
import type { PlanGap } from './plan.js';

export interface Gaps {
  /** The first ones. */
  readonly listed: readonly PlanGap[];
  /** The first number whose loss nobody declared: of what is missing from there on nothing is known. */
  readonly undeclaredFrom: bigint | undefined;
  /** Numbers that are missing before that one: all of them were declared lost. */
  readonly declared: bigint;
}

const GAPS_LISTED = 10_000;

/** Sums up gaps as they go by, ascending. */
export class GapSum implements Gaps {
  readonly listed: PlanGap[] = [];
  undeclaredFrom: bigint | undefined;
  declared = 0n;

  add(gap: PlanGap): void {
    if (this.listed.length < GAPS_LISTED) this.listed.push(gap);
    if (!gap.isDeclared) this.undeclaredFrom ??= gap.first;
    if (this.undeclaredFrom === undefined) this.declared += gap.last - gap.first + 1n;
  }
}

export function sumGaps(gaps: Iterable<PlanGap>): Gaps {
  const sum = new GapSum();
  for (const gap of gaps) sum.add(gap);
  return sum;
}
