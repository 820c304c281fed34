// SPDX-License-Identifier: MIT
/** The recording of a run: checked, begun, and begun again if the guest did not come up by QEMU's fault. */
import type { LabContext } from '../util/context.js';
import { bootsAgain, failedBootProblem } from './boot-again.js';
import { createRunFolder, keepFailedBoot } from './folder.js';
import { checkOptions, type RecordOptions, type RecordResult } from './record-options.js';
import { Recording } from './recording.js';

/** Boots a traced guest, runs the command in it, and leaves a complete record; throws if the record is not complete. */
export async function recordRun(options: RecordOptions, ctx: LabContext): Promise<RecordResult> {
  const config = await checkOptions(options);
  const folder = await createRunFolder(options.runDir, options.force ?? false);
  const problems: string[] = [];
  for (let attempt = 1; ; attempt++) {
    const recording = new Recording(options, config, folder, problems, ctx);
    try {
      return await recording.run();
    } catch (error) {
      const boot = { attempt, hasBooted: recording.hasBooted, error };
      if (!bootsAgain(boot)) throw error;
      const problem = failedBootProblem(boot, await keepFailedBoot(folder, attempt));
      problems.push(problem);
      ctx.log.warn(problem);
    }
  }
}
