// SPDX-License-Identifier: MIT
import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { type AuditOptions, type AuditReport, auditRun, readPublicKey } from '../../audit/audit.js';
import { checkPlaces, type FoundBoot, findRuns, scopeOf } from '../../audit/boots.js';
import { checkGone, isHead } from '../../audit/heads.js';
import { type Finding, fingerprint } from '../../audit/log.js';
import { auditPackage } from '../../audit/package.js';
import { runTool } from '../../proc/tool.js';
import { findRunDir } from '../../run/folder.js';
import { ioError, LabError, systemCodeOf, throwIfAborted } from '../../util/errors.js';
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
      ? 'it has no witness: nobody outside of the run saw its head, and who holds the lab’s key could have signed it anew'
      : `a witness outside of the run saw ${witnessed} of ${entries} entries as they are`,
  );
  for (const id of report.earlier)
    lines.push(`it has taken the place of run ${id}, which a witness saw begin there before`);
  for (const { folder, boots, labs } of report.keepers)
    lines.push(`witness ${folder}: ${boots} boots, kept by lab ${labs.map(fingerprint).join(', ') || 'unknown'}`);
  for (const { log, entries, time } of report.stamps)
    lines.push(`stamped: ${entries} entries of ${log}.jsonl at ${time}`);
  if (report.unchecked > 0) lines.push(`${report.unchecked} time stamps were not looked at (--tsa CA.pem)`);
  const what = `${report.files} files, ${report.bytes} bytes, ${entries} entries, custody of ${report.custody}`;
  const verdict =
    findings.length > 0
      ? `ALTERED: ${findings.length} findings`
      : isClosed
        ? 'intact'
        : 'NOT closed: what is signed is as it was, what came after is not proven';
  const of = report.machine === null ? '' : ` of ${report.machine}`;
  lines.push(`${report.run ?? 'unknown run'}${of}: ${what}: ${verdict}`);
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
  const where = findRunDir(runsDir, name);
  const found = await stat(where).catch(() => undefined);
  if (found?.isDirectory() === true) return { where, isPackage: false };
  if (found?.isFile() === true) return { where, isPackage: true };
  throw new LabError('LAB_RUN_UNKNOWN', `there is nothing to audit in ${where}`, {
    next: `name a run, or a path, with a / in it (./${path.basename(name)}): of its folder, of a server, a machine there, or a sealed package`,
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

function runsIn(dir: string): string[] {
  try {
    return findRuns(dir);
  } catch (error) {
    throw ioError(`looking for runs in ${dir}`, error);
  }
}

/** `audit`: every finding on stdout, one line each; 1 if there is any, or if a chain was not closed. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { where, isPackage } = await target(invocation.run, ctx.runsDir);
  const options = await optionsOf(invocation);
  const runs = isPackage ? [where] : runsIn(where);
  if (runs.length !== 1 && options.heads?.some((head) => /^[0-9a-f]{64}$/i.test(head)) === true)
    throw new LabError('LAB_USAGE', `a head belongs to one run, and ${where} holds ${runs.length}`, {
      next: 'audit each by its path, or give a file of heads',
    });
  let isAllIntact = true;
  const found: FoundBoot[] = [];
  for (const dir of runs) {
    const report = await withStep(ctx.progress, 'auditing', (step) => {
      const onFile = (file: string) => {
        throwIfAborted(ctx.signal, 'auditing');
        step.update(file);
      };
      return isPackage ? auditArchive(dir, { ...options, onFile }, ctx.signal) : auditRun(dir, { ...options, onFile });
    }).catch((error: unknown) => {
      throw ioError(`auditing ${dir}`, error);
    });
    await print(invocation, report, path.relative(where, dir));
    isAllIntact &&= isIntact(report);
    const { id, run, machine, server } = report;
    found.push({
      ...{ dir, id: id ?? undefined, run: run ?? undefined },
      ...{ machine: machine ?? undefined, server: server ?? undefined },
    });
  }
  if (runs[0] === where) return isAllIntact ? 0 : 1;
  // What a server holds is a set of runs, and each of them may be taken away as a whole.
  const collected = (options.heads ?? []).filter((head) => !isHead(head));
  const witnesses = [...collected, ...(options.witness === undefined ? [] : [options.witness])];
  const wrong: Finding[] = checkPlaces(where, found);
  const scope = scopeOf(where, found);
  for (const witness of witnesses) wrong.push(...(await checkGone(witness, where, scope, found)));
  await printFindings(invocation, wrong, '');
  if (runs.length === 0 && wrong.length === 0)
    throw new LabError('LAB_RUN_UNKNOWN', `there is nothing to audit in ${where}: no machine there has sent a boot`, {
      next: 'if one has, ask a witness of its heads: --head FILE',
    });
  return isAllIntact && wrong.length === 0 ? 0 : 1;
}

/** What this lab knows by itself: the heads that it saw, and its own key. */
export async function knownHere(dataDir: string): Promise<Pick<AuditOptions, 'witness' | 'own'>> {
  const ownKey = path.join(dataDir, 'lab-key.pub.pem');
  const witness = path.join(dataDir, 'heads.jsonl');
  return {
    ...((await exists(witness)) ? { witness } : {}),
    ...((await exists(ownKey)) ? { own: await readPublicKey(ownKey) } : {}),
  };
}

/** The path of a PEM file that an option names; what is no such file says nothing of the run. */
export async function pemFile(option: string, file: string, kind: 'PUBLIC KEY' | 'CERTIFICATE'): Promise<string> {
  const text = await readFile(file, 'latin1').catch((error: unknown) => {
    throw new LabError('LAB_USAGE', `--${option} ${file} can not be read (${systemCodeOf(error)})`, {
      next: `name a PEM file that holds a ${kind.toLowerCase()}`,
    });
  });
  if (text.includes(`-----BEGIN ${kind}-----`)) return path.resolve(file);
  throw new LabError('LAB_USAGE', `--${option} ${file} holds no ${kind.toLowerCase()} in PEM`, {
    next: kind === 'CERTIFICATE' ? "name the authority's certificates" : "name the recording lab's lab-key.pub.pem",
  });
}

/** What `--head` gives: a head, or the path of what keeps some. */
async function headOf(text: string): Promise<string> {
  if (isHead(text) || (await exists(text))) return text;
  throw new LabError('LAB_USAGE', `--head ${text} is no head of 64 hexadecimal digits, and no file or folder either`, {
    next: "name a head, a file of heads (heads.jsonl), or a machine's folder at the server of a witness",
  });
}

async function optionsOf(invocation: Invocation): Promise<AuditOptions> {
  const { dataDir } = invocation.context();
  const lab = invocation.string('lab-key');
  const tsa = invocation.string('tsa');
  return {
    heads: await Promise.all(invocation.list('head').map(headOf)),
    isQuick: invocation.bool('quick'),
    ...(await knownHere(dataDir)),
    ...(lab === undefined ? {} : { lab: await readPublicKey(await pemFile('lab-key', lab, 'PUBLIC KEY')) }),
    ...(tsa === undefined ? {} : { tsa: await pemFile('tsa', tsa, 'CERTIFICATE') }),
  };
}

/** @param folder of the run, below what was asked for; empty: it is that itself */
async function print(invocation: Invocation, report: AuditReport, folder: string): Promise<void> {
  const { out } = invocation;
  await printFindings(invocation, report.findings, folder);
  if (invocation.json) {
    const fingerprintOfLab = report.lab === null ? null : fingerprint(report.lab);
    await out.json({ type: 'verdict', folder, isIntact: isIntact(report), fingerprint: fingerprintOfLab, ...report });
  } else for (const line of auditLines(report)) await out.line(line);
}

async function printFindings(invocation: Invocation, findings: readonly Finding[], folder: string): Promise<void> {
  for (const finding of findings) {
    const file = path.join(folder, finding.file);
    if (invocation.json) await invocation.out.json({ type: 'finding', ...finding, file });
    else await invocation.out.line([file, finding.at, finding.what].filter(Boolean).join(': '));
  }
}
