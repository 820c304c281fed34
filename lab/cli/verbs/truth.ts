// SPDX-License-Identifier: MIT
import { findRunDir, openRun } from '../../run/folder.js';
import { exportTruth } from '../../run/truth.js';
import type { Invocation } from '../invocation.js';

/** `truth`: prints the file it wrote. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const opened = await openRun(findRunDir(ctx.runsDir, invocation.run));
  const truth = await exportTruth(opened, invocation.need('at'), invocation.need('output'), ctx);
  ctx.log.info(`the disk at mark ${truth.mark.label} (seq ${truth.mark.seq}), ${truth.sizeBytes} bytes`);
  await invocation.out.line(truth.path);
  return 0;
}
