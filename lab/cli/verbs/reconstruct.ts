// SPDX-License-Identifier: MIT
import { describeMismatch } from '../../../replay/control.js';
import { describeRate, reconstruct } from '../../../replay/reconstruct.js';
import { describeUnvouched } from '../../../replay/unvouched.js';
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
  for (const problem of result.problems) ctx.log.warn(problem);
  for (const gap of result.gaps) ctx.log.warn(`effects ${gap.first} to ${gap.last} are missing from the record`);
  for (const one of result.unvouched) ctx.log.warn(`not vouched for: ${describeUnvouched(one)}`);
  for (const mismatch of result.mismatches) ctx.log.warn(describeMismatch(mismatch));
  for (const taint of result.taints) ctx.log.warn(`not described by effects: seq ${taint.seq}: ${taint.text}`);
  ctx.log.info(
    `rebuilt at ${result.at} (seq ${result.seq}): ${result.effects} effects, ${result.bytes} bytes of content in ` +
      `${result.seconds.total.toFixed(1)} s (${describeRate(result)})${result.isVouchedFor ? '' : '; it cannot be vouched for, see above'}`,
  );
  if (invocation.json) await invocation.out.json(result);
  else await invocation.out.line(result.output);
  return result.isVouchedFor ? 0 : 1;
}
