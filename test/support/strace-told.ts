// SPDX-License-Identifier: MIT
/**
 * What a guest program reports of its own calls (`test/boot/guest/strace-entries/entry.h`) against the record: the ABI,
 * number, arguments and result of each, and all bytes of the memory that it watched. strace shows neither the ABI nor
 * memory of commands that it does not know.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { type Abi, syscallRow } from '../../lab/abi/syscalls.js';
import { callArgs } from '../../lab/trace/calls.js';
import type { Capture } from '../../lab/trace/record.js';
import type { RecordedCall } from './strace-pair.js';
import { callsOfThreads } from './strace-run.js';

export interface ToldMemory {
  readonly arg: number;
  readonly direction: 'in' | 'out' | 'io';
  readonly size: number;
  /** With the margin that nobody should have touched. */
  readonly before: Buffer;
  readonly after: Buffer;
}

export interface ToldCall {
  readonly abi: Abi;
  readonly nr: number;
  readonly args: readonly bigint[];
  readonly ret: bigint;
  readonly memory: readonly ToldMemory[];
}

export interface Report {
  readonly tid: number;
  readonly calls: readonly ToldCall[];
}

export interface ToldTally {
  calls: number;
  memory: number;
  readonly byAbi: Map<Abi, number>;
  readonly differences: string[];
}

export function newToldTally(): ToldTally {
  return { calls: 0, memory: 0, byAbi: new Map(), differences: [] };
}

/** @throws Error naming the line that is none of a report */
export function parseReport(text: string): Report {
  const [first = '', ...lines] = text.trimEnd().split('\n');
  const [, tid] = /^thread (\d+)$/.exec(first) ?? [];
  if (tid === undefined) throw new Error(`a report begins with "${first}", which names no thread`);
  const calls: (ToldCall & { memory: ToldMemory[] })[] = [];
  for (const line of lines) {
    const [, abi, nr = '', args = '', ret = ''] =
      /^(64|ia32|x32) ([0-9a-f]+)((?: [0-9a-f]+){6}) = (-?\d+)$/.exec(line) ?? [];
    if (abi !== undefined) {
      const values = args.trim().split(' ');
      calls.push({
        abi: abi as Abi,
        nr: Number.parseInt(nr, 16),
        args: values.map((v) => BigInt(`0x${v}`)),
        ret: BigInt(ret),
        memory: [],
      });
      continue;
    }
    const [, arg, direction, size, before = '', after = ''] =
      /^\+ (\d) (in|out|io) (\d+) ([0-9a-f]+) ([0-9a-f]+)$/.exec(line) ?? [];
    if (arg === undefined) throw new Error(`a report has a line that is neither call nor memory: ${line}`);
    calls.at(-1)?.memory.push({
      arg: Number(arg),
      direction: direction as ToldMemory['direction'],
      size: Number(size),
      before: Buffer.from(before, 'hex'),
      after: Buffer.from(after, 'hex'),
    });
  }
  return { tid: Number(tid), calls };
}

function compareCapture(told: Buffer, captures: readonly Capture[], when: string): string | undefined {
  const [capture, second] = captures;
  if (capture === undefined) return `was not captured at ${when}`;
  if (second !== undefined) return `was captured more than once at ${when}`;
  if (capture.isTruncated || capture.trueLen !== told.length)
    return `has ${told.length} bytes, of which ${capture.bytes.length} of ${capture.trueLen} were captured at ${when}`;
  if (!capture.bytes.equals(told))
    return `is ${told.toString('hex')}, captured at ${when} as ${capture.bytes.toString('hex')}`;
  return undefined;
}

function compareMemory(told: ToldMemory, { entry, exit }: RecordedCall): string | undefined {
  const { arg, size, direction } = told;
  if (!told.before.subarray(size).equals(told.after.subarray(size)))
    return `was written past its ${size} bytes: ${told.after.toString('hex')}`;
  const atEntry = entry.captures.filter((c) => c.arg === arg);
  const atExit = exit?.captures.filter((c) => c.arg === arg) ?? [];
  const isWritten = direction !== 'in' && exit !== undefined && exit.ret >= 0n;
  const differs = direction === 'out' ? undefined : compareCapture(told.before.subarray(0, size), atEntry, 'entry');
  if (differs !== undefined) return differs;
  if (direction === 'out' && atEntry.length > 0) return 'was captured at entry';
  if (!isWritten) return atExit.length > 0 ? 'was captured at exit' : undefined;
  return compareCapture(told.after.subarray(0, size), atExit, 'exit');
}

function compareCall(told: ToldCall, call: RecordedCall, tally: ToldTally): string[] {
  const { entry, exit } = call;
  if (told.abi !== entry.abi || told.nr !== entry.nr) return [`is ${entry.abi} ${entry.nr} in the record`];
  const problems: string[] = [];
  const count = syscallRow(entry.nr, entry.abi) === undefined ? told.args.length : callArgs(entry.nr, entry.abi).length;
  if (entry.args.length !== count) problems.push(`has ${count} arguments, of which ${entry.args.length} were recorded`);
  for (const [i, value] of entry.args.entries())
    if (value !== told.args[i]) problems.push(`argument ${i} was recorded as 0x${value.toString(16)}`);
  if (exit === undefined) problems.push('has no result in the record');
  else if (exit.abi !== told.abi || exit.nr !== told.nr) problems.push(`ends as ${exit.abi} ${exit.nr}`);
  else if (BigInt.asIntN(64, exit.ret) !== told.ret) problems.push(`returned ${exit.ret} in the record`);
  for (const memory of told.memory) {
    const problem = compareMemory(memory, call);
    if (problem !== undefined) problems.push(`memory of argument ${memory.arg} ${problem}`);
    tally.memory++;
  }
  return problems;
}

/**
 * Compares a report with the calls of its thread. Of the 64-bit calls, which libc makes too, those count whose numbers
 * are reported; of others all.
 */
export function compareReport(
  where: string,
  report: Report,
  recorded: readonly RecordedCall[],
  tally: ToldTally,
): void {
  const own = new Set(report.calls.filter((c) => c.abi === '64').map((c) => c.nr));
  const kept = recorded.filter(({ entry }) => entry.abi !== '64' || own.has(entry.nr));
  for (const [i, told] of report.calls.entries()) {
    const call = kept[i];
    const shown = `${where} call ${i}: ${told.abi} ${told.nr}(${told.args.map((a) => `0x${a.toString(16)}`).join(', ')}) = ${told.ret}`;
    tally.calls++;
    tally.byAbi.set(told.abi, (tally.byAbi.get(told.abi) ?? 0) + 1);
    const problems = call === undefined ? ['is not in the record'] : compareCall(told, call, tally);
    for (const problem of problems) tally.differences.push(`${shown} ${problem}`);
    if (call === undefined || problems[0]?.startsWith('is ')) return;
  }
  const more = kept[report.calls.length];
  if (more !== undefined)
    tally.differences.push(`${where}: the report ends before ${more.entry.abi} ${more.entry.nr} of the record`);
}

/** Compares every report of a folder. */
export async function compareReports(runDir: string, folder: string): Promise<ToldTally> {
  const names = (await readdir(folder)).sort();
  const reports = await Promise.all(names.map(async (n) => parseReport(await readFile(path.join(folder, n), 'utf8'))));
  const threads = await callsOfThreads(runDir, new Set(reports.map((r) => r.tid)));
  const tally = newToldTally();
  for (const [i, report] of reports.entries())
    compareReport(names[i] ?? '', report, threads.get(report.tid) ?? [], tally);
  return tally;
}

/** What was compared, in one line. */
export function toldText(tally: ToldTally): string {
  const abis = [...tally.byAbi].map(([abi, n]) => `${abi} ${n}`).join(', ');
  return `${tally.calls} calls reported (${abis}), ${tally.memory} pieces of memory, ${tally.differences.length} differences`;
}
