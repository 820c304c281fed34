// SPDX-License-Identifier: MIT
/** What a verb did to a run goes into the run's custody log, however it ended. */
import { noteCustody } from '../evidence/custody.js';
import { findRunDir, runDirOf } from '../run/folder.js';
import { exitStatusOf, messageOf } from '../util/errors.js';
import type { Invocation } from './invocation.js';

/** The folder of the run that a verb works on, if it is one of those that are noted. */
function notedRun(invocation: Invocation): string | undefined {
  const { verb, args } = invocation;
  const { runsDir } = invocation.context();
  if (verb.custody === 'operand') return args[0] === undefined ? undefined : findRunDir(runsDir, args[0]);
  const name = verb.custody === 'flag' ? invocation.string('run') : undefined;
  return name === undefined ? undefined : runDirOf(runsDir, name);
}

/** Does the work and notes it. A log that can't be written is a warning: the work is done all the same. */
export async function withCustody(invocation: Invocation, work: () => Promise<number>): Promise<number> {
  const began = new Date().toISOString();
  const dir = notedRun(invocation);
  let status = 0;
  try {
    status = await work();
    return status;
  } catch (error) {
    status = exitStatusOf(error);
    throw error;
  } finally {
    if (dir !== undefined) {
      const { log, dataDir } = invocation.context();
      const { argv, version } = invocation.command;
      const act = { act: invocation.verb.name, args: argv, version, began, status };
      await noteCustody(dir, dataDir, act).catch((error: unknown) =>
        log.warn(`the custody log of ${dir} could not be written: ${messageOf(error)}`),
      );
    }
  }
}
