// SPDX-License-Identifier: MIT
import { runDemo } from '../../demo/demo.js';
import { demoFacts, renderReport } from '../../demo/report.js';
import { runDirOf } from '../../run/folder.js';
import type { Invocation } from '../invocation.js';

/** `demo`: 0 only if the rebuilt disk is exact and nothing was lost. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const runDir = runDirOf(ctx.runsDir, invocation.string('run') ?? 'demo');
  const keep = invocation.bool('keep');
  const result = await runDemo(
    { runDir, smp: invocation.int('smp') ?? 2, keep, force: invocation.bool('force'), stdout: process.stderr },
    ctx,
  );
  const colors = invocation.out.isTerminal && (process.env.NO_COLOR ?? '') === '';
  if (invocation.json) await invocation.out.json(demoFacts(result));
  else await invocation.out.write(renderReport(result, colors, process.stdout.columns ?? 100));
  if (keep) ctx.log.info(`kept: ${runDir}, with rebuilt.raw`);
  const { isEqual } = result.verdict;
  return isEqual && result.rebuilt.isVouchedFor && result.stats.account.isComplete ? 0 : 1;
}
