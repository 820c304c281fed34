// SPDX-License-Identifier: MIT
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { noteCustody, readCustody } from '../../evidence/custody.js';
import { CUSTODY_FILE } from '../../evidence/files.js';
import { findRunDir, openRun } from '../../run/folder.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

function noLog(run: string, what: string): LabError {
  return new LabError('LAB_RUN_STATE', `run '${run}' has ${what}`, {
    next: `./lemona audit ${run} says whether one was removed; an older version of this program made none`,
  });
}

/** `custody`: prints who did what to a run, or adds a note by hand. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { dir } = await openRun(findRunDir(ctx.runsDir, invocation.run));
  const note = invocation.string('note');
  if (note !== undefined) {
    const { version } = invocation.command;
    const act = { act: 'note', args: [note], version, began: new Date().toISOString(), status: 0 };
    if (!(await noteCustody(dir, ctx.dataDir, act)))
      throw noLog(invocation.run, 'no chain that a custody log could be bound to');
  } else if ((await stat(path.join(dir, CUSTODY_FILE)).catch(() => undefined)) === undefined) {
    throw noLog(invocation.run, 'no custody log');
  }
  for (const entry of await readCustody(dir)) {
    if (invocation.json) await invocation.out.json(entry);
    else {
      const { time, who, act, args = [], status } = entry;
      const { user, uid, host } = who;
      const words = [act, ...(act === 'note' ? args : args.slice(1))].join(' ');
      await invocation.out.line(
        `${time}  ${user} (${uid}) at ${host}: ${words}${status === undefined || status === 0 ? '' : `: ended with ${status}`}`,
      );
    }
  }
  return 0;
}
