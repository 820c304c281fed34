// SPDX-License-Identifier: MIT
import { describeRate, reconstruct } from '../../../replay/reconstruct.js';
import { warningsOf } from '../../../replay/shortfalls.js';
import { replayVm } from '../../parts/parts.js';
import { findRunDir } from '../../run/folder.js';
import type { Invocation } from '../invocation.js';

/** `reconstruct`: 1 if the image cannot be vouched for in all its parts. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const result = await reconstruct(
    {
      runDir,
      at: invocation.string('at') ?? 'end',
      output: invocation.need('output'),
      format: invocation.string('format') === 'qcow2' ? 'qcow2' : 'raw',
      vm: () => replayVm(runDir, ctx),
      goOn: invocation.bool('go-on'),
      strict: invocation.bool('strict'),
    },
    ctx,
  );
  for (const warning of warningsOf(result)) ctx.log.warn(warning);
  ctx.log.info(
    `rebuilt at ${result.at} (seq ${result.seq}): ${result.effects} effects, ${result.bytes} bytes of content in ` +
      `${result.seconds.total.toFixed(1)} s (${describeRate(result)})${result.isVouchedFor ? '' : '; it cannot be vouched for, see above'}`,
  );
  if (invocation.json) await invocation.out.json(result);
  else await invocation.out.line(result.output);
  return result.isVouchedFor ? 0 : 1;
}
