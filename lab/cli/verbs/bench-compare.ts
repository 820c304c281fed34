// SPDX-License-Identifier: MIT
import { type Change, type Comparison, compareReports } from '../../bench/compare.js';
import { amount, percent } from '../../bench/format.js';
import { readReport } from '../../bench/report.js';
import type { Invocation } from '../invocation.js';

function describeChange({ thing, config, before, after, change, samples, p, verdict }: Change): string {
  const counts = samples[0] === samples[1] ? `${samples[0]}` : samples.join(' and ');
  const of = verdict === 'unknown' ? ` (${counts === '1' ? 'one sample' : `${counts} samples`})` : '';
  const chance = p === undefined || verdict === 'unknown' ? '' : ` (p = ${p.toPrecision(2)})`;
  return `${thing}, ${config}: ${amount(before)} to ${amount(after)}, ${percent(change)}${of}${chance}`;
}

/** Nothing speaks against it, and something for it. Pure. */
export function isSame({ changes, faults }: Comparison): boolean {
  const told = changes.filter(({ verdict }) => verdict !== 'unknown');
  return faults.length === 0 && told.length > 0 && told.every(({ verdict }) => verdict === 'same');
}

/** What `bench compare` says, line by line. Pure. */
export function describeComparison({ changes, onlyOne, differences, faults }: Comparison): string[] {
  const of = (verdict: Change['verdict']) => changes.filter((change) => change.verdict === verdict);
  const [changed, unknown] = [of('changed'), of('unknown')];
  return [
    ...differences.map((text) => `not the same in both: ${text}`),
    ...faults.map((fault) => `not good ${fault.of}: ${fault.cell}: ${fault.why}`),
    ...changed.map(describeChange),
    ...unknown.map((change) => `too few samples to tell: ${describeChange(change)}`),
    `${changes.length} compared, ${changed.length} changed significantly` +
      (unknown.length === 0 ? '' : `, ${unknown.length} have too few samples`),
    ...onlyOne.map((name) => `only in one of them: ${name}`),
  ];
}

/**
 * `bench compare`: 1 if anything changed significantly, or nothing could be told, or a cell of either failed, lost records
 * or was not rebuilt.
 */
export async function run(invocation: Invocation): Promise<number> {
  const { out } = invocation;
  const [a = '', b = ''] = invocation.args;
  const comparison = compareReports(await readReport(a), await readReport(b));
  if (invocation.json) await out.json(comparison);
  else for (const line of describeComparison(comparison)) await out.line(line);
  return isSame(comparison) ? 0 : 1;
}
