// SPDX-License-Identifier: MIT
/** The demo's report, for a person: pure text out of the result. */
import path from 'node:path';
import pc from 'picocolors';
import { displayBytes, isoFromNs } from '../trace/text.js';
import type { DemoResult, RecoveredFile } from './demo.js';
import type { Rule } from './story.js';

type Colors = ReturnType<typeof pc.createColors>;

const count = (value: number | bigint) => value.toLocaleString('en-US');

/** `12.3 MB`, in powers of ten. */
export function size(bytes: number | bigint): string {
  const value = Number(bytes);
  if (value < 1000) return `${value} B`;
  if (value < 1e6) return `${(value / 1e3).toFixed(1)} kB`;
  if (value < 1e9) return `${(value / 1e6).toFixed(1)} MB`;
  return `${(value / 1e9).toFixed(2)} GB`;
}

const SHOWN_LINES = 8;

const LOUD: ReadonlySet<Rule> = new Set<Rule>(['setuid', 'root', 'accounts', 'schedule', 'destroyed']);

type Users = ReadonlyMap<number, string>;

function owner(uid: number, euid: number, users: Users): string {
  const name = (id: number) => users.get(id) ?? `uid ${id}`;
  return uid === euid ? name(uid) : `${name(uid)} as ${name(euid)}`;
}

/** `uid 33` in a sentence becomes `www-data`. */
function named(text: string, users: Users): string {
  return text.replace(/\buid (\d+)\b/g, (all, uid: string) => users.get(Number(uid)) ?? all);
}

function heading(c: Colors, text: string): string[] {
  return ['', c.bold(text), c.dim('─'.repeat(text.length))];
}

function wrapped(text: string, width: number, indent: string): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === '' ? word : `${line} ${word}`;
  }
  lines.push(line);
  return lines.map((part, index) => (index === 0 ? part : `${indent}${part}`));
}

function timeline(result: DemoResult, c: Colors, width: number): string[] {
  const lines: string[] = [];
  for (const finding of result.story.findings) {
    const time = isoFromNs(finding.realNs).slice(11, 23);
    const who = owner(finding.uid, finding.euid, result.users);
    const paint = LOUD.has(finding.rule) ? c.red : (text: string) => text;
    const [first = '', ...more] = wrapped(named(finding.text, result.users), width - 15, ' '.repeat(15));
    lines.push(`${c.dim(time)}  ${c.cyan(who)}  ${c.dim(`[${finding.pid}] ${finding.chain}`)}`);
    lines.push(`               ${paint(first)}`, ...more.map(paint));
  }
  return lines;
}

function recoveredFile(file: RecoveredFile, c: Colors): string[] {
  const agreement =
    file.agrees === undefined
      ? 'from the rebuilt disk'
      : file.agrees
        ? 'the rebuilt disk and the record alone agree'
        : 'THE REBUILT DISK AND THE RECORD DISAGREE';
  const all = displayText(file.content);
  const lines = all.slice(0, SHOWN_LINES);
  if (all.length > SHOWN_LINES) lines.push(`… ${all.length - SHOWN_LINES} more lines`);
  return [
    `${c.green('●')} ${file.path}  ${c.dim(`${size(file.sizeBytes)}, sha256 ${file.sha256.slice(0, 16)}…, ${agreement}`)}`,
    ...lines.map((line) => c.dim(`    │ ${line}`)),
  ];
}

/** The first lines of a file, harmless for a terminal. */
function displayText(content: Buffer): string[] {
  const lines = content.subarray(0, 4096).toString('latin1').replaceAll('\t', '    ').split('\n');
  if (lines.at(-1) === '') lines.pop();
  return lines.map((line) => {
    const text = displayBytes(Buffer.from(line, 'latin1'));
    return text.length > 90 ? `${text.slice(0, 89)}…` : text;
  });
}

/** The whole report; `colors` and `width` say what the terminal can do. */
export function renderReport(result: DemoResult, colors: boolean, width = 100): string {
  const c = pc.createColors(colors);
  const { stats, manifest, destruction, mark, rebuilt, verdict, seconds, recovered } = result;
  const { account } = stats;
  const entries = stats.syscalls.reduce((sum, row) => sum + row.entries, 0);
  const ratio = seconds.rebuild / seconds.record;
  const out: string[] = [];

  out.push(...heading(c, 'What was recorded'));
  out.push(
    `guest      Linux ${manifest.kernel.release}, ${manifest.smp} CPU, ${manifest.memoryMiB} MiB, ${manifest.accelerator} (${manifest.acceleratorWhy})`,
    `events     ${count(account.recorded)} records: ${count(entries)} system calls, ${count(account.effects)} effects on files`,
    `bytes      ${size(stats.bytes)} in ${count(stats.subbufs)} sub-buffers`,
    `lost       ${account.isComplete ? c.green('0') : c.red(count(account.dropped + account.missing))}` +
      c.dim(` (${account.issued} issued = ${account.recorded} recorded + ${account.dropped} declared lost)`),
  );

  out.push(...heading(c, 'The attack, as the record tells it'));
  out.push(...timeline(result, c, width));

  out.push(...heading(c, 'The disk'));
  out.push(
    `destroyed  at effect ${destruction.seq}, ${isoFromNs(destruction.realNs)}, by the guest itself`,
    `           ${destruction.chain}: ${displayBytes(Buffer.from(destruction.text))}`,
    `gone       the guest's disk, ${size(result.thrownAwayBytes)}: deleted; only the record, the checkpoint and the oracle are left`,
    `rebuilt    at effect ${rebuilt.seq} (mark ${mark.label}), ${destruction.seq - mark.seq} effects before the first destructive one:`,
    `           ${count(rebuilt.effects)} effects, ${size(rebuilt.bytes)} of content applied`,
  );

  out.push(...heading(c, `Deleted by the intruder, recovered (${recovered.length} of ${result.story.deleted.length})`));
  if (result.recoveredAt !== undefined) out.push(c.dim(`read from the disk rebuilt at effect ${result.recoveredAt}`));
  for (const file of recovered) out.push(...recoveredFile(file, c));

  out.push(...heading(c, 'Verdict'));
  const equal = verdict.isEqual && rebuilt.isVouchedFor;
  out.push(
    `${equal ? c.green('EXACT') : c.red('DIFFERENT')}: ${count(verdict.compared)} files and folders, ${size(verdict.bytes)} of content compared with the oracle: ` +
      `${verdict.differences} differences`,
    c.dim('type, mode, owner, size, content, extended attributes, ACLs, links, devices, four times to the nanosecond'),
  );
  for (const { path: name, field, rebuilt: seen, truth } of verdict.first) {
    out.push(c.red(`  ${name}: ${field}: rebuilt ${seen}, truth ${truth}`));
  }
  out.push(
    `recording ${seconds.record.toFixed(1)} s, rebuilding ${seconds.rebuild.toFixed(1)} s (${(100 * ratio).toFixed(0)} % of it), ` +
      `comparing ${seconds.verify.toFixed(1)} s, all together ${seconds.total.toFixed(0)} s`,
  );
  return `${out.join('\n')}\n`;
}

/** The same facts for a program. */
export function demoFacts(result: DemoResult): Record<string, unknown> {
  const { stats, story, manifest } = result;
  return {
    run: path.basename(result.runDir),
    seed: result.seed,
    kernel: manifest.kernel.release,
    accelerator: manifest.accelerator,
    records: stats.account.recorded,
    effects: stats.account.effects,
    bytes: stats.bytes,
    lost: stats.account.dropped + stats.account.missing,
    timeline: story.findings.map(({ realNs, ...rest }) => ({ time: isoFromNs(realNs), ...rest })),
    destruction: { ...result.destruction, time: isoFromNs(result.destruction.realNs) },
    rebuilt: result.rebuilt,
    recovered: result.recovered.map(({ content, ...rest }) => ({
      ...rest,
      text: displayBytes(content.subarray(0, 4096)),
    })),
    verdict: result.verdict,
    seconds: result.seconds,
  };
}
