// SPDX-License-Identifier: MIT
import { mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type AuditOptions, type AuditReport, auditRun, readPublicKey } from '../../audit/audit.js';
import { fingerprint } from '../../audit/log.js';
import { auditPackage } from '../../audit/package.js';
import { runTool } from '../../proc/tool.js';
import { runDirOf } from '../../run/folder.js';
import { ioError, LabError, throwIfAborted } from '../../util/errors.js';
import { withStep } from '../../util/progress.js';
import type { Invocation } from '../invocation.js';

/** Without a fault: nothing was altered, and the chain says that nothing is missing. Pure. */
export function isIntact(report: Pick<AuditReport, 'findings' | 'isClosed'>): boolean {
  return report.findings.length === 0 && report.isClosed;
}

/** What a person should know besides the findings, the verdict last. Pure. */
export function auditLines(report: AuditReport): string[] {
  const { entries, witnessed, findings, isClosed } = report;
  const lines = report.unsigned.map(({ file, bytes }) => `${file}: ${bytes} bytes that were not signed yet`);
  for (const file of report.skipped) lines.push(`${file}: only its size was compared (--quick)`);
  for (const time of report.resumed) lines.push(`recording was cut off and went on at ${time}`);
  lines.push(`lab ${report.lab === null ? 'unknown' : fingerprint(report.lab)}`, `head ${report.head ?? 'none'}`);
  lines.push(
    witnessed === 0
      ? 'no witness outside of the run was asked: who holds the lab’s key could have signed it anew'
      : `a witness outside of the run saw ${witnessed} of ${entries} entries as they are`,
  );
  const what = `${report.files} files, ${report.bytes} bytes, ${entries} entries, custody of ${report.custody}`;
  const verdict =
    findings.length > 0
      ? `ALTERED: ${findings.length} findings`
      : isClosed
        ? 'intact'
        : 'NOT closed: what is signed is as it was, what came after is not proven';
  lines.push(`${report.run ?? 'unknown run'}: ${what}: ${verdict}`);
  return lines;
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/** Where the thing to audit lies: a name, or a path, which has a slash in it. */
async function target(name: string, runsDir: string): Promise<{ readonly where: string; readonly isPackage: boolean }> {
  const where = name.includes('/') ? path.resolve(name) : runDirOf(runsDir, name);
  const found = await stat(where).catch(() => undefined);
  if (found?.isDirectory() === true) return { where, isPackage: false };
  if (found?.isFile() === true) return { where, isPackage: true };
  throw new LabError('LAB_RUN_UNKNOWN', `there is nothing to audit in ${where}`, {
    next: 'name a run, or the path of a folder with a chain.jsonl in it or of a sealed package',
  });
}

/** Unpacks a package, audits what is in it, and removes it again. */
async function auditArchive(file: string, options: AuditOptions, signal: AbortSignal): Promise<AuditReport> {
  const root = await mkdtemp(path.join(tmpdir(), 'lemona-audit-'));
  try {
    const argv = ['tar', '--extract', '--no-same-owner', `--file=${file}`, '-C', root] as const;
    await runTool(argv, { signal }).catch((error: unknown) => {
      if (!(error instanceof LabError) || error.code !== 'LAB_TOOL_FAILED') throw error;
      throw new LabError('LAB_RUN_CORRUPT', `${file} cannot be unpacked: it is no package, or damaged`, {
        cause: error,
      });
    });
    return await auditPackage(root, options);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** `audit`: every finding on stdout, one line each; 1 if there is any, or if the chain was not closed. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const { where, isPackage } = await target(invocation.run, ctx.runsDir);
  const ownKey = path.join(ctx.dataDir, 'lab-key.pub.pem');
  const witness = path.join(ctx.dataDir, 'heads.jsonl');
  const lab = invocation.string('lab-key');
  const report = await withStep(ctx.progress, 'auditing', async (step) => {
    const options: AuditOptions = {
      heads: invocation.list('head'),
      isQuick: invocation.bool('quick'),
      onFile: (file) => {
        throwIfAborted(ctx.signal, 'auditing');
        step.update(file);
      },
      ...((await exists(witness)) ? { witness } : {}),
      ...((await exists(ownKey)) ? { trusted: [await readPublicKey(ownKey)] } : {}),
      ...(lab === undefined ? {} : { lab: await readPublicKey(lab) }),
    };
    return isPackage ? await auditArchive(where, options, ctx.signal) : await auditRun(where, options);
  }).catch((error: unknown) => {
    throw ioError(`auditing ${where}`, error);
  });
  for (const finding of report.findings) {
    if (invocation.json) await out.json({ type: 'finding', ...finding });
    else await out.line([finding.file, finding.at, finding.what].filter(Boolean).join(': '));
  }
  if (invocation.json) {
    const fingerprintOfLab = report.lab === null ? null : fingerprint(report.lab);
    await out.json({ type: 'verdict', isIntact: isIntact(report), fingerprint: fingerprintOfLab, ...report });
  } else for (const line of auditLines(report)) await out.line(line);
  return isIntact(report) ? 0 : 1;
}
