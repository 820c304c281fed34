// SPDX-License-Identifier: MIT
import { describeMismatch } from '../../../replay/control.js';
import { describeRate, rateOf } from '../../../replay/reconstruct.js';
import { describeUnvouched } from '../../../replay/unvouched.js';
import { LEFT_OUT, verifyRun } from '../../../replay/verify.js';
import { replayVm } from '../../parts/parts.js';
import { findRunDir } from '../../run/folder.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** `verify`: every difference on stdout, one line each; 1 if there is any. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const runDir = findRunDir(ctx.runsDir, invocation.run);
  const allMarks = invocation.bool('all-marks');
  const at = invocation.string('at');
  if (allMarks && at !== undefined) throw new LabError('LAB_USAGE', '--at and --all-marks exclude each other');
  // Printed as they are found, in order: a broken rebuild may have millions.
  let printing: Promise<void> = Promise.resolve();
  const result = await verifyRun(
    {
      runDir,
      ...(allMarks ? { allMarks } : { at: at ?? 'end' }),
      vm: () => replayVm(runDir, ctx),
      strict: invocation.bool('strict'),
      onDifference: (mark, difference) => {
        const { path, field, rebuilt, truth } = difference;
        printing = printing.then(() =>
          invocation.json
            ? out.json({ type: 'difference', mark, ...difference })
            : out.line(`${mark}: ${path}: ${field}: rebuilt ${rebuilt}, truth ${truth}`),
        );
      },
    },
    ctx,
  );
  await printing;
  for (const gap of result.replay.gaps) ctx.log.warn(`effects ${gap.first} to ${gap.last} are missing from the record`);
  for (const mismatch of result.replay.first) ctx.log.warn(describeMismatch(mismatch));
  for (const taint of result.replay.taints)
    ctx.log.warn(
      `not described by effects: seq ${taint.seq}: ${taint.text}: a rebuild is not vouched for from here on`,
    );
  const rate = rateOf(result.replay, result.applySeconds);
  ctx.log.info(`${result.replay.applied} effects applied: ${describeRate(rate)}`);
  for (const verdict of result.marks) {
    const { mark, seq, compared, bytes, differences, names, isEqual, leftOut, allowed, unvouched } = verdict;
    for (const one of unvouched) {
      if (invocation.json) await out.json({ type: 'unvouched', mark, ...one });
      else await out.line(`${mark}: not vouched for: ${describeUnvouched(one)}`);
    }
    if (invocation.json)
      await out.json({ type: 'mark', mark, seq, compared, leftOut, allowed, names, bytes, differences, isEqual });
    else {
      await out.line(
        `${mark} (seq ${seq}): ${compared} names, ${bytes.truth} bytes of content compared: ${differences} differences`,
      );
    }
  }
  if (invocation.json) {
    const { run: name, marks, isEqual, differences, seconds } = result;
    await out.json({
      type: 'verdict',
      run: name,
      marks: marks.length,
      isEqual,
      differences,
      taints: result.replay.taintCount,
      seconds,
      ...rate,
      leftOut: LEFT_OUT,
    });
  } else {
    const verdict = result.isEqual ? 'equal' : 'NOT equal';
    await out.line(`${result.run}: ${result.marks.length} marks, ${result.differences} differences: ${verdict}`);
  }
  return result.isEqual ? 0 : 1;
}
