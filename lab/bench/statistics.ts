// SPDX-License-Identifier: MIT
/** The few statistics a bench needs. Pure. */

function sorted(values: readonly number[]): number[] {
  return [...values].sort((a, b) => a - b);
}

/** NaN of nothing. */
export function median(values: readonly number[]): number {
  const all = sorted(values);
  const middle = Math.floor(all.length / 2);
  const upper = all[middle] ?? Number.NaN;
  return all.length % 2 === 1 ? upper : ((all[middle - 1] ?? Number.NaN) + upper) / 2;
}

/** Logarithms of 0! to n!. */
function logFactorials(n: number): number[] {
  const logs = [0];
  for (let i = 1; i <= n; i++) logs.push((logs[i - 1] ?? 0) + Math.log(i));
  return logs;
}

/** Confidence that is asked for. */
export const CONFIDENCE = 0.95;

/**
 * A confidence interval of the median, from order statistics: no distribution is assumed. Undefined if there are too few
 * values (fewer than 6 can't give 95 %).
 */
export function medianInterval(values: readonly number[]): { readonly low: number; readonly high: number } | undefined {
  const all = sorted(values);
  const n = all.length;
  const logs = logFactorials(n);
  const chance = (k: number) => Math.exp((logs[n] ?? 0) - (logs[k] ?? 0) - (logs[n - k] ?? 0) - n * Math.LN2);
  // P(median below the k-th smallest) is the chance of fewer than k heads in n throws.
  let below = 0;
  let rank: number | undefined;
  for (let k = 0; 2 * (k + 1) <= n; k++) {
    below += chance(k);
    if (1 - 2 * below < CONFIDENCE) break;
    rank = k;
  }
  if (rank === undefined) return undefined;
  return { low: all[rank] ?? Number.NaN, high: all[n - 1 - rank] ?? Number.NaN };
}

/** Largest difference between two of the values, as a part of their median. */
export function spread(values: readonly number[]): number {
  return (Math.max(...values) - Math.min(...values)) / median(values);
}

/**
 * The chance that two samples of the same thing differ as these do, by ranks (Mann and Whitney), two-sided, with the normal
 * approximation and its correction for ties. 1 where one is empty.
 */
export function rankTest(a: readonly number[], b: readonly number[]): number {
  const all = [...a.map((value) => ({ value, isA: true })), ...b.map((value) => ({ value, isA: false }))].sort(
    (x, y) => x.value - y.value,
  );
  const n = all.length;
  let rankSum = 0;
  let ties = 0;
  for (let i = 0; i < n; ) {
    let j = i;
    while (j < n && all[j]?.value === all[i]?.value) j++;
    // All of one value share their mean rank.
    const rank = (i + 1 + j) / 2;
    for (let k = i; k < j; k++) if (all[k]?.isA === true) rankSum += rank;
    ties += (j - i) ** 3 - (j - i);
    i = j;
  }
  const pairs = a.length * b.length;
  const u = rankSum - (a.length * (a.length + 1)) / 2;
  const variance = (pairs / 12) * (n + 1 - ties / (n * (n - 1)));
  if (!(variance > 0)) return 1;
  const z = Math.max(0, Math.abs(u - pairs / 2) - 0.5) / Math.sqrt(variance);
  return Math.min(1, 2 * upperTail(z));
}

/** Of the normal distribution: Abramowitz and Stegun 26.2.17, error below 1e-7. */
function upperTail(z: number): number {
  const t = 1 / (1 + 0.2316419 * z);
  const poly = t * (0.31938153 + t * (-0.356563782 + t * (1.781477937 + t * (-1.821255978 + t * 1.330274429))));
  return (poly * Math.exp((-z * z) / 2)) / Math.sqrt(2 * Math.PI);
}
