// SPDX-License-Identifier: MIT
import { existsSync } from 'node:fs';
import path from 'node:path';
import { stampRun } from '../../evidence/timestamp.js';
import { findRunDir, openRun } from '../../run/folder.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';
import { pemFile } from './audit.js';

/** `timestamp`: has an authority stamp the heads of a run's logs, and prints each. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const where = invocation.need('authority');
  const isAddress = /^https?:/.test(where);
  const ca = invocation.string('tsa') ?? (isAddress ? undefined : path.join(where, 'ca.pem'));
  if (ca === undefined)
    throw new LabError('LAB_USAGE', `--authority ${where}: its certificates are needed too`, {
      next: 'give them by --tsa CA.pem: an answer that cannot be checked is not kept',
    });
  if (!isAddress && !existsSync(path.join(where, 'ca.pem')))
    throw new LabError(
      'LAB_USAGE',
      `--authority ${where}: no address of http, and no folder of an authority (ca.pem)`,
      {
        next: `lab/evidence/authority.sh make ${where} makes one`,
      },
    );
  await pemFile('tsa', ca, 'CERTIFICATE');
  const { dir } = await openRun(findRunDir(ctx.runsDir, invocation.run));
  for (const { file, entries, head } of await stampRun(dir, { where, ca }, ctx.signal)) {
    if (invocation.json) await invocation.out.json({ file, entries, head });
    else await invocation.out.line(`${file}: ${entries} entries, head ${head}`);
  }
  return 0;
}
