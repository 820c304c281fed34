// SPDX-License-Identifier: MIT
/** What a report says of each lane, in a page and in Markdown. Pure. */
import { amount, percent, seconds } from './format.js';
import type { Lane } from './report-data.js';
import type { Row } from './summary.js';

export interface LaneText {
  readonly title: string;
  readonly about: string;
  /** Of the baseline's cost. */
  readonly unit: string;
  /** A second table of the same rows. */
  readonly more: { readonly title: string; readonly of: (row: Row) => string };
}

export const LANE_TEXT: Readonly<Record<Lane, LaneText>> = {
  deterministic: {
    title: 'Deterministic lane',
    about:
      'One virtual CPU whose clock counts its instructions. Costs are instructions of the whole guest, programs and kernel, ' +
      'shipping of the record included; they say nothing of time.',
    unit: 'instructions',
    more: {
      title: 'Instructions of programs, and of the kernel',
      of: ({ user, kernel }) => `${amount(user ?? 0)} + ${amount(kernel ?? 0)}`,
    },
  },
  parallel: {
    title: 'Parallel lane',
    about:
      'Two virtual CPUs and the clock on the wall. Medians; in brackets, where there are six samples or more, the 95 % ' +
      "confidence interval of each, against the baseline's median. Emulated CPUs (tcg) take turns in one thread.",
    unit: 'seconds',
    more: {
      title: 'Units of work (requests, objects, rounds) a second',
      of: ({ perSecond }) => amount(perSecond ?? 0),
    },
  },
};

/** The baseline's own cost, or how much more another one's is. */
export function costOf({ lane, median, interval, config, baseline, overhead, overheadInterval }: Row): string {
  const isTimed = lane === 'parallel';
  if (config !== baseline && overhead !== undefined) {
    const { low, high } = overheadInterval ?? {};
    return low === undefined || high === undefined
      ? percent(overhead)
      : `${percent(overhead)} (${percent(low)} to ${percent(high)})`;
  }
  const text = isTimed ? seconds : amount;
  return interval === undefined ? text(median) : `${text(median)} (${text(interval.low)} to ${text(interval.high)})`;
}
