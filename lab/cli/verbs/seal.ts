// SPDX-License-Identifier: MIT
import path from 'node:path';
import { auditRun } from '../../audit/audit.js';
import { EvidenceChain } from '../../evidence/chain.js';
import { noteCustody } from '../../evidence/custody.js';
import { checkPackageNames, writePackage } from '../../evidence/seal.js';
import { sha256File, sha256FileCached } from '../../run/digest.js';
import { findRunDir, openRun } from '../../run/folder.js';
import { isRecorded } from '../../run/manifest.js';
import { ioError, LabError } from '../../util/errors.js';
import { withStep } from '../../util/progress.js';
import type { Invocation } from '../invocation.js';
import { knownHere } from './audit.js';

/** `seal`: closes the chain of a recorder that was killed, notes the sealing, writes the package, prints its digest. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const output = invocation.need('output');
  const where = findRunDir(ctx.runsDir, invocation.run);
  checkPackageNames(where, output);
  const { dir, name, diskFile, manifest } = await openRun(where);
  const began = new Date().toISOString();
  const known = await knownHere(ctx.dataDir);
  const before = await withStep(ctx.progress, 'auditing', (step) =>
    auditRun(dir, { ...known, onFile: (file) => step.update(file) }).catch((error: unknown) => {
      throw ioError(`auditing ${dir}`, error);
    }),
  );
  const [finding] = before.findings;
  if (finding !== undefined) {
    const first = [finding.file, finding.at, finding.what].filter(Boolean).join(': ');
    throw new LabError('LAB_CHECK_FAILED', `run '${name}' has ${before.findings.length} findings: ${first}`, {
      next: `./lemona audit ${invocation.run} lists them; what was altered is not sealed as if it were whole`,
    });
  }
  const digest = (file: string) =>
    file === diskFile ? sha256FileCached(file, ctx.cacheDir, ctx.signal) : sha256File(file, ctx.signal);
  const options = { dir, dataDir: ctx.dataDir, digest };
  if (!before.isClosed) {
    const chain = await EvidenceChain.resume(options);
    await chain.close();
    ctx.log.warn(
      isRecorded(manifest)
        ? `the recorder of run '${name}' was killed: what it left unsigned was signed by the lab now`
        : `the machine of '${name}' had not said that it was all: if it comes again, its server refuses it (ENDED)`,
    );
  }
  const { argv, version } = invocation.command;
  await noteCustody(dir, ctx.dataDir, { act: 'seal', args: argv, version, began, status: 0 });
  await withStep(ctx.progress, 'packing', () => writePackage({ ...options, output, signal: ctx.signal }));
  const sha256 = await sha256File(output, ctx.signal);
  const { head, files, lab } = await auditRun(dir, { isQuick: true });
  if (invocation.json)
    await invocation.out.json({ run: name, package: path.resolve(output), sha256, head, files, lab });
  else await invocation.out.line(`${sha256}  ${output}`);
  ctx.log.info(`run '${name}': ${files} files, head ${head ?? 'none'}`);
  return 0;
}
