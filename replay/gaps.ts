// SPDX-License-Identifier: MIT
/** All gaps of a record, summed up: there may be as many as effects. */
import type { PlanGap } from './plan.js';

export interface Gaps {
  /** The first ones. */
  readonly listed: readonly PlanGap[];
  /** Numbers in all of them. */
  readonly missing: bigint;
  /** All of them were declared lost. */
  readonly areDeclared: boolean;
}

const GAPS_LISTED = 10_000;

/** Sums up gaps as they go by, ascending. */
export class GapSum implements Gaps {
  readonly listed: PlanGap[] = [];
  missing = 0n;
  areDeclared = true;

  add(gap: PlanGap): void {
    if (this.listed.length < GAPS_LISTED) this.listed.push(gap);
    this.missing += gap.last - gap.first + 1n;
    this.areDeclared &&= gap.isDeclared;
  }
}

export function sumGaps(gaps: Iterable<PlanGap>): Gaps {
  const sum = new GapSum();
  for (const gap of gaps) sum.add(gap);
  return sum;
}
