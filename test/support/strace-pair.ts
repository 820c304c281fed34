// SPDX-License-Identifier: MIT
/** Pairs the calls of one thread as the record has them with those that strace printed, and compares the pairs. */

import { parseArgs } from '../../lab/abi/arguments.js';
import { commandArg, commandRow, SOCKETCALL_ARG, SOCKETCALLS } from '../../lab/abi/commands.js';
import { layoutOf, ROWS_IA32, syscallName } from '../../lab/abi/syscalls.js';
import { callArgs } from '../../lab/trace/calls.js';
import type { TraceRecord } from '../../lab/trace/record.js';
import { compareArg, compareTail, type RecordedArg } from './strace-compare.js';
import { parseNumber, parseResult, type StraceCall } from './strace-parse.js';

export type Entry = Extract<TraceRecord, { kind: 'entry' }>;
export type Exit = Extract<TraceRecord, { kind: 'exit' }>;

export interface RecordedCall {
  readonly entry: Entry;
  exit?: Exit;
}

/** What was compared, and what differed. */
export interface Tally {
  threads: number;
  calls: number;
  results: number;
  values: number;
  memory: number;
  /** `call.argument` → how often strace printed it in a way that is not compared. */
  readonly unchecked: Map<string, number>;
  readonly differences: string[];
}

export function newTally(): Tally {
  return { threads: 0, calls: 0, results: 0, values: 0, memory: 0, unchecked: new Map(), differences: [] };
}

/** Calls of a thread from its records in order; a result without a call is the birth of a child. */
export function callsOf(records: readonly (Entry | Exit)[]): RecordedCall[] {
  const calls: RecordedCall[] = [];
  for (const record of records) {
    const last = calls.at(-1);
    if (record.kind === 'entry') calls.push({ entry: record });
    else if (last !== undefined && last.exit === undefined) last.exit = record;
  }
  return calls;
}

/** Calls inside of socketcall that have no number of their own, and the call that does the same. */
const STRACE_NAMES: Readonly<Record<string, string>> = { send: 'sendto', recv: 'recvfrom', accept: 'accept4' };

const X32_BIT = 0x4000_0000;

interface Decoded {
  readonly name: string;
  readonly args: readonly RecordedArg[];
}

/** Name and arguments; of socketcall those of the call that it makes. */
function decode({ entry, exit }: RecordedCall): Decoded {
  const layout = layoutOf(entry.nr, entry.abi);
  let name = syscallName(entry.nr, entry.abi);
  let descs = callArgs(entry.nr, entry.abi);
  let values = entry.args;
  let first = 0;
  const inner = name === 'socketcall' ? SOCKETCALLS.find(([nr]) => BigInt(nr) === entry.args[0]) : undefined;
  const vector = entry.captures.find((c) => c.arg === 1)?.bytes;
  if (inner !== undefined && vector !== undefined && vector.length >= 4 * inner[2]) {
    const row = ROWS_IA32.find((r) => r.name === inner[1]);
    name = inner[1];
    descs = row === undefined ? [] : parseArgs(row);
    values = Array.from({ length: inner[2] }, (_, i) => BigInt(vector.readUInt32LE(4 * i)));
    first = SOCKETCALL_ARG;
  }
  const args = values.map((value, i): RecordedArg => {
    const by = descs[i];
    const row = by?.table === undefined ? undefined : commandRow(by.table, values[by.k] ?? 0n);
    return {
      value,
      desc: row === undefined ? by : commandArg(row, layout),
      atEntry: entry.captures.filter((c) => c.arg === first + i),
      atExit: exit?.captures.filter((c) => c.arg === first + i) ?? [],
      isCompat: layout !== '64',
    };
  });
  return { name, args };
}

/** In strace's own order: clone's arguments stand with their names. */
function cloneArgs(texts: readonly string[], isIa32: boolean): readonly (string | undefined)[] {
  const named = new Map(texts.map((t) => [t.slice(0, t.indexOf('=')), t.slice(t.indexOf('=') + 1)]));
  const parent = named.get('parent_tid') ?? named.get('parent_tidptr');
  const child = named.get('child_tidptr');
  const tls = named.get('tls');
  const front = [named.get('flags'), named.get('child_stack'), parent];
  return isIa32 ? [...front, tls, child] : [...front, child, tls];
}

function compareCall(printed: StraceCall, call: RecordedCall, isRaw: boolean, tally: Tally): string | undefined {
  const { name, args } = decode(call);
  const printedName = (call.entry.abi === 'ia32' ? STRACE_NAMES[printed.name] : undefined) ?? printed.name;
  const number = call.entry.abi === 'x32' ? X32_BIT + call.entry.nr : call.entry.nr;
  const isNameless = printed.name === `syscall_0x${number.toString(16)}`;
  // strace's mark for a number of the 64-bit table that x32 does not have.
  const isNot32 = call.entry.abi === 'x32' && printed.name === `${name}#64`;
  if (printedName !== name && !isNameless && !isNot32) return `is ${name} in the record`;
  const result = parseResult(printed.ret);
  if (result !== undefined) {
    const wide = call.entry.abi === '64' ? 64 : 32;
    if (call.exit === undefined) return 'has no result in the record';
    if (BigInt.asUintN(wide, result) !== BigInt.asUintN(wide, call.exit.ret))
      return `returned ${call.exit.ret} in the record`;
    tally.results++;
  }
  if (isRaw) {
    for (const [i, text] of printed.args.entries()) {
      const value = parseNumber(text);
      const arg = args[i];
      if (arg === undefined) continue;
      if (value === undefined) return `has an argument that is no number: ${text}`;
      // Of x32's arguments strace shows 32 bits.
      const shown = call.entry.abi === 'x32' ? 32 : 64;
      if (BigInt.asUintN(shown, value) !== BigInt.asUintN(shown, arg.value))
        return `argument ${i}: ${text} was recorded as 0x${arg.value.toString(16)}`;
      tally.values++;
    }
    return undefined;
  }
  const texts = printed.name === 'clone' ? cloneArgs(printed.args, call.entry.abi === 'ia32') : printed.args;
  for (const [i, text] of texts.entries()) {
    const arg = args[i];
    if (arg === undefined || text === undefined || text === '') continue;
    const verdict = compareArg(name, text, arg);
    if (verdict === 'unchecked') tally.unchecked.set(`${name}.${i}`, (tally.unchecked.get(`${name}.${i}`) ?? 0) + 1);
    else if (verdict !== 'equal') return `argument ${i} ${verdict}`;
    else if (parseNumber(text) === undefined) tally.memory++;
    else tally.values++;
  }
  const tail = compareTail(printed.ret, args);
  if (tail === 'equal') tally.memory++;
  return tail.startsWith('differs') ? `what follows the result ${tail}` : undefined;
}

/**
 * Compares a thread, call by call.
 * @param isRaw strace printed all arguments as numbers
 */
export function compareThread(
  where: string,
  printed: readonly StraceCall[],
  recorded: readonly RecordedCall[],
  isRaw: boolean,
  tally: Tally,
): void {
  tally.threads++;
  for (const [i, call] of printed.entries()) {
    const ours = recorded[i];
    const what = ours === undefined ? 'is not in the record' : compareCall(call, ours, isRaw, tally);
    tally.calls++;
    if (what !== undefined) {
      const shown = `${call.name}(${call.args.join(', ')}) = ${call.ret}`.slice(0, 300);
      tally.differences.push(`${where} call ${i}: ${shown} ${what}`);
      // Names that differ mean that the threads are out of step: what follows says nothing.
      if (ours === undefined || what.startsWith('is ')) return;
    }
  }
  const more = recorded[printed.length];
  if (more !== undefined)
    tally.differences.push(`${where}: strace ends before ${syscallName(more.entry.nr, more.entry.abi)} of the record`);
}

/** What was compared, in one line. */
export function tallyText(tally: Tally): string {
  const unchecked = [...tally.unchecked].sort(([a], [b]) => (a < b ? -1 : 1)).map(([key, n]) => `${key} ${n}`);
  return `${tally.calls} calls of ${tally.threads} threads: ${tally.results} results, ${tally.values} values, ${tally.memory} pieces of memory compared, ${tally.differences.length} differences; not compared: ${unchecked.join(', ') || 'nothing'}`;
}
