// SPDX-License-Identifier: MIT
/** System calls and their results as text: pure functions. */
import { type ArgDesc, parseArgs } from '../abi/arguments.js';
import { commandArg, commandRow, SOCKETCALL_ARG, SOCKETCALLS } from '../abi/commands.js';
import { type Abi, layoutOf, ROWS_IA32, syscallName, syscallRow } from '../abi/syscalls.js';
import { URING_FIELDS, uringArgs } from '../abi/uring.js';
import type { Capture, TraceRecord } from './record.js';
import { fdSetText, formatBytes, ioctlText, openFlagsText, quoted, sockaddrText } from './values.js';

/** Captured bytes shown of one argument. */
const CAPTURE_SHOWN_BYTES = 48;

type Entry = Extract<TraceRecord, { kind: 'entry' }>;
type Exit = Extract<TraceRecord, { kind: 'exit' }>;

/** The strings of a vector, each ended by a zero byte. */
export function splitAtZeros(bytes: Buffer): Buffer[] {
  const parts: Buffer[] = [];
  for (let at = 0; at < bytes.length; ) {
    const zero = bytes.indexOf(0, at);
    const end = zero < 0 ? bytes.length : zero;
    parts.push(bytes.subarray(at, end));
    at = end + 1;
  }
  return parts;
}

/** Which argument of a call is a program's arguments: the environment is a vector of strings too. */
export const ARGV_AT: ReadonlyMap<string, number> = new Map([
  ['execve', 1],
  ['execveat', 2],
]);

/** A program's arguments as a call gave them; undefined: it gave none. */
export function argvOf({ nr, abi, captures }: Pick<Entry, 'nr' | 'abi' | 'captures'>): Capture | undefined {
  const at = ARGV_AT.get(syscallName(nr, abi));
  return captures.find(({ type, arg }) => type === 'STRV' && arg === at);
}

const DESCS = new Map<string, readonly ArgDesc[]>();

/** The arguments of a number; six values for a number nobody has. */
export function callArgs(nr: number, abi: Abi): readonly ArgDesc[] {
  const row = syscallRow(nr, abi);
  if (row === undefined) return [];
  let descs = DESCS.get(row.args);
  if (descs === undefined) {
    descs = parseArgs(row);
    DESCS.set(row.args, descs);
  }
  return descs;
}

/** What an argument is for this command, or itself. */
function resolved(desc: ArgDesc | undefined, args: readonly bigint[], layout: Abi): ArgDesc | undefined {
  if (desc?.table === undefined || desc.flags.includes('DEREF')) return desc;
  const row = commandRow(desc.table, args[desc.k] ?? 0n);
  return row === undefined ? undefined : commandArg(row, layout);
}

function bytesText(capture: Capture, desc: ArgDesc | undefined): string {
  switch (capture.type) {
    case 'STRV':
      return `[${splitAtZeros(capture.bytes).map(quoted).join(' ')}${capture.isTruncated ? ' …' : ''}]`;
    case 'PATH':
      return `${quoted(capture.bytes)}${capture.isTruncated ? '…' : ''}`;
    case 'SOCKADDR':
      return sockaddrText(capture.bytes);
    default: {
      const formatted = desc?.rule === 'BITS' ? fdSetText(capture.bytes) : formatBytes(capture.bytes, desc?.format);
      if (formatted !== undefined) return formatted;
      const shown = capture.bytes.subarray(0, CAPTURE_SHOWN_BYTES);
      return `${quoted(shown)}${capture.trueLen > shown.length ? `…${capture.trueLen}` : ''}`;
    }
  }
}

/** What an address led to; a msghdr leads to several things. */
export function captureText(captures: readonly Capture[], desc?: ArgDesc): string {
  // The headers of messages are offsets and lengths of the rest.
  const isMessage = desc?.kind === 'MSG' || desc?.kind === 'MMSG';
  const shown = isMessage && captures.length > 1 ? captures.filter((c) => c.type !== 'STRUCT') : captures;
  return shown.map((c) => `${bytesText(c, desc)}${c.isFault ? '!fault' : ''}`).join(' ');
}

function valueText(value: bigint, desc: ArgDesc | undefined): string {
  switch (desc?.word) {
    // Descriptors and values are signed 32 bits for people: AT_FDCWD is -100.
    case 'fd':
      return String(BigInt.asIntN(32, value));
    case 'int':
      return String(BigInt.asIntN(64, value));
    case 'oflags':
      return openFlagsText(value);
    case 'mode':
      return `0${BigInt.asUintN(32, value).toString(8)}`;
    case 'ioctl':
      return ioctlText(value);
    default:
      return value < 4096n ? String(value) : `0x${value.toString(16)}`;
  }
}

function argsText(
  descs: readonly ArgDesc[],
  args: readonly bigint[],
  captures: readonly Capture[],
  layout: Abi,
  firstArg: number,
): string {
  return args
    .map((value, i) => {
      const own = captures.filter((c) => c.arg === firstArg + i);
      const desc = resolved(descs[i], args, layout);
      return own.length > 0 ? captureText(own, desc) : valueText(value, desc);
    })
    .join(', ');
}

/** ia32's socketcall() as the call that it makes; undefined if its arguments were not captured. */
function socketcallText(entry: Entry): string | undefined {
  const [nr = 0n] = entry.args;
  const inner = SOCKETCALLS.find(([number]) => BigInt(number) === nr);
  const vector = entry.captures.find((c) => c.arg === 1 && c.type === 'STRUCT')?.bytes;
  if (inner === undefined || vector === undefined || vector.length < 4 * inner[2]) return undefined;
  const [, name, count] = inner;
  const row = ROWS_IA32.find((r) => r.name === name);
  const args = Array.from({ length: count }, (_, i) => BigInt(vector.readUInt32LE(4 * i)));
  const text = argsText(row === undefined ? [] : parseArgs(row), args, entry.captures, 'ia32', SOCKETCALL_ARG);
  return `${name}(${text})`;
}

function callName(record: Entry | Exit): string {
  return `${record.abi === '64' ? '' : `${record.abi}:`}${syscallName(record.nr, record.abi, record.kind === 'entry')}`;
}

/** `openat(-100, "/etc/passwd", O_RDONLY, 0)` */
export function entryText(entry: Entry): string {
  const descs = callArgs(entry.nr, entry.abi);
  const inner = descs.some((d) => d.kind === 'SOCKETCALL') ? socketcallText(entry) : undefined;
  const args = inner ?? argsText(descs, entry.args, entry.captures, layoutOf(entry.nr, entry.abi), 0);
  const notes = `${entry.isCut ? ' cut' : ''}${entry.isDenied ? ' denied' : ''}`;
  return `${callName(entry)}(${args})${notes}`;
}

/** What addresses led to, by argument: ` arg1="abc"`. @param nameOf what an argument is called */
function capturesText(
  captures: readonly Capture[],
  descs: readonly ArgDesc[],
  nameOf: (arg: number) => string,
): string {
  const indexes = [...new Set(captures.map((c) => c.arg))];
  return indexes
    .map((arg) => {
      const own = captures.filter((c) => c.arg === arg);
      return ` ${nameOf(arg)}=${captureText(own, descs[arg])}`;
    })
    .join('');
}

/** `read = 3 arg1="abc"`. What a command decides is shown as bytes: the command is in the entry. */
export function exitText(exit: Exit): string {
  const out = capturesText(exit.captures, callArgs(exit.nr, exit.abi), (arg) => `arg${arg}`);
  return `${callName(exit)} = ${exit.ret}${out}${exit.isCut ? ' cut' : ''}`;
}

/** What a request of io_uring leads to: ` sqe="…" addr="/tmp/f"` */
export function requestText(opcode: number, captures: readonly Capture[]): string {
  return capturesText(captures, uringArgs(opcode), (arg) => URING_FIELDS[arg] ?? `arg${arg}`);
}
