// SPDX-License-Identifier: MIT
import { auditRun } from '../../audit/audit.js';
import { fingerprint } from '../../audit/log.js';
import { noteCustody } from '../../evidence/custody.js';
import { findRunDir, runDirOf } from '../../run/folder.js';
import { type CpuRange, type MergeReport, type MergeSource, mergeRuns, type NumberRange } from '../../run/merge.js';
import { statsOf } from '../../trace/stats.js';
import { LabError, messageOf } from '../../util/errors.js';
import { withStep } from '../../util/progress.js';
import type { Invocation } from '../invocation.js';
import { isIntact, knownHere } from './audit.js';
import { equation } from './stats.js';

function span({ cpu, first, last }: NumberRange): string {
  return `cpu ${cpu}: sub-buffer${first === last ? ` ${first}` : `s ${first} to ${last}`}`;
}

const cpusOf = (ranges: readonly CpuRange[]) =>
  ranges.map(({ first, last }) => (first === last ? `${first}` : `${first} to ${last}`)).join(', ');

/** What was found, a line for each thing. Pure. */
export function mergeLines(report: MergeReport): string[] {
  const { sources, unseen, missing, parts, unproven, tooFew, disagreements, copies, wantedCopies, again } = report;
  const lines: string[] = [];
  for (const { dir, subbufs, cpus, isProven, lab, hasEnd, problems, gone } of sources) {
    const chain = isProven ? `whole, of lab ${lab ?? 'unknown'}` : 'NOT whole';
    const end = hasEnd ? '' : '; it has NO END';
    lines.push(`${dir}: ${subbufs} sub-buffers of CPU ${cpus.join(', ')}; its chain is ${chain}${end}`);
    for (const { folder, segment, offset, detail } of problems)
      lines.push(`${dir}: ${folder}: segment ${segment} at ${offset}: ${detail}`);
    if (gone !== null) lines.push(`${dir}: ${gone}`);
  }
  for (const { cpu, number, contents } of disagreements) {
    const told = contents.map(
      ({ sha256, sources: held }) => `${held.map((i) => sources[i]?.dir).join(', ')} ${sha256}`,
    );
    lines.push(`cpu ${cpu}: sub-buffer ${number}: copies DISAGREE: ${told.join('; ')}; the first was taken`);
  }
  if (unseen.length > 0)
    lines.push(
      `cpu ${cpusOf(unseen)}: NOTHING in any source, and nothing says that there was none: name the folder of each server ` +
        'that the machine sent to; if you did, the machine has fewer CPUs than it may have, or a server has lost its boot',
    );
  for (const range of missing) lines.push(`${span(range)}: MISSING from all sources`);
  for (const part of parts) lines.push(`${span(part)}: MISSING but for the part of category ${part.category}`);
  for (const range of unproven) lines.push(`${span(range)}: NOT PROVEN: in no source whose chain is whole`);
  for (const range of tooFew) lines.push(`${span(range)}: fewer than ${wantedCopies} copies`);
  if (again > 0) lines.push(`${again} sub-buffers stood in a source twice or out of order`);
  const counted = Object.entries(copies).map(([count, of]) => `${of} with ${count}`);
  lines.push(`copies: ${counted.join(', ')}`);
  return lines;
}

function verdictOf(isComplete: boolean, isCut: boolean, { isOpen, unproven, unseen }: MergeReport): string {
  if (isComplete) return unproven.length === 0 ? 'complete' : 'complete, but NOT proven';
  if (isCut) return 'NOT proven complete: a source was cut';
  if (isOpen) return 'NOT proven complete: no source with an end has all of it';
  return unseen.length > 0 ? `NOT proven complete: no source has anything of CPU ${cpusOf(unseen)}` : 'NOT complete';
}

/** `merge`: 0 if one whole record came out, proven, the copies agree, and there are as many as wanted. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { out } = invocation;
  const name = invocation.need('run');
  const runDir = runDirOf(ctx.runsDir, name);
  const sources: MergeSource[] = [];
  for (const given of invocation.args) {
    const dir = findRunDir(ctx.runsDir, given);
    if (sources.some((source) => source.dir === dir)) throw new LabError('LAB_USAGE', `${dir} is named twice`);
    const options = { isQuick: true, ...(await knownHere(ctx.dataDir)) };
    const audit = await withStep(ctx.progress, `auditing ${dir}`, () => auditRun(dir, options)).catch(
      (error: unknown) => {
        throw new LabError('LAB_RUN_UNKNOWN', `${dir} can't be read: ${messageOf(error)}`, {
          cause: error,
          next: 'name runs, or the paths of their folders, with a / in them',
        });
      },
    );
    const lab = audit.lab === null ? null : fingerprint(audit.lab);
    sources.push({ dir, isProven: isIntact(audit), head: audit.head, lab });
  }
  const began = new Date().toISOString();
  const copies = invocation.int('copies') ?? 1;
  const options = { sources, runDir, force: invocation.bool('force'), copies };
  const report = await withStep(ctx.progress, 'merging', () => mergeRuns(options, ctx));
  const { account, problems } = await statsOf(runDir, ctx.signal, BigInt(report.markSeq));
  const cut = report.sources.filter(({ gone }) => gone !== null).length;
  const isComplete =
    account.isHonest &&
    account.elsewhere === 0n &&
    report.missing.length + report.parts.length + report.unseen.length + problems.length === 0 &&
    cut === 0 &&
    !report.isOpen;
  const doubts = report.disagreements.length + report.tooFew.length + report.unproven.length;
  const isGood = isComplete && doubts === 0;
  const { argv, version } = invocation.command;
  for (const { dir } of sources) {
    await noteCustody(dir, ctx.dataDir, { act: 'merge', args: argv, version, began, status: isGood ? 0 : 1 }).catch(
      (error: unknown) => ctx.log.warn(`the custody log of ${dir} could not be written: ${messageOf(error)}`),
    );
  }
  if (invocation.json) await out.json({ run: name, runDir, isComplete, isGood, account, ...report });
  else {
    for (const line of mergeLines(report)) await out.line(line);
    for (const { first, last, isDeclared } of account.gaps)
      if (!isDeclared) await out.line(`effects ${first} to ${last}: MISSING without a declaration`);
    await out.line(equation(account));
    await out.line(
      `${name}: ${report.subbufs} sub-buffers, ${report.bytes} bytes: ${verdictOf(isComplete, cut > 0, report)}`,
    );
  }
  return isGood ? 0 : 1;
}
