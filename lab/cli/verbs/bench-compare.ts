// SPDX-License-Identifier: MIT
import { compareReports } from '../../bench/compare.js';
import { amount, percent } from '../../bench/format.js';
import { readReport } from '../../bench/report.js';
import type { Invocation } from '../invocation.js';

/** `bench compare`: 1 if anything changed significantly. */
export async function run(invocation: Invocation): Promise<number> {
  const { out } = invocation;
  const [a = '', b = ''] = invocation.args;
  const { changes, onlyOne } = compareReports(await readReport(a), await readReport(b));
  const significant = changes.filter(({ isSignificant }) => isSignificant);
  if (invocation.json) {
    for (const change of changes) await out.json(change);
    return significant.length > 0 ? 1 : 0;
  }
  for (const { thing, config, before, after, change, p } of significant) {
    const chance = p === undefined ? '' : ` (p = ${p.toPrecision(2)})`;
    await out.line(`${thing}, ${config}: ${amount(before)} to ${amount(after)}, ${percent(change)}${chance}`);
  }
  await out.line(`${changes.length} compared, ${significant.length} changed significantly`);
  for (const name of onlyOne) await out.line(`only in one of them: ${name}`);
  return significant.length > 0 ? 1 : 0;
}
