// SPDX-License-Identifier: MIT
/** Compares what strace printed for an argument with what the record has for it: pure functions. */
import { constants } from 'node:os';
import type { ArgDesc } from '../../lab/abi/arguments.js';
import { splitAtZeros } from '../../lab/trace/calls.js';
import type { Capture } from '../../lab/trace/record.js';
import { LAYOUTS, type Layout } from './strace-layouts.js';
import {
  arraysIn,
  fieldsIn,
  numbersIn,
  parseBytes,
  parseNumber,
  splitTopLevel,
  withoutComments,
} from './strace-parse.js';

/** `equal` · `unchecked`: strace prints it in a way that is not compared · else the difference. */
export type Verdict = 'equal' | 'unchecked' | `differs: ${string}`;

export interface RecordedArg {
  readonly value: bigint;
  readonly desc: ArgDesc | undefined;
  readonly atEntry: readonly Capture[];
  readonly atExit: readonly Capture[];
  /** Addresses in memory have 4 bytes. */
  readonly isCompat: boolean;
}

const differs = (what: string): Verdict => `differs: ${what}`;

function readLE(bytes: Buffer, offset: number, width: number): bigint {
  let value = 0n;
  for (let i = width - 1; i >= 0; i--) value = (value << 8n) | BigInt(bytes[offset + i] ?? 0);
  return value;
}

/** Both as unsigned numbers of so many bytes. */
function sameNumber(a: bigint, b: bigint, width: number): boolean {
  return BigInt.asUintN(8 * width, a) === BigInt.asUintN(8 * width, b);
}

/** strace prints ints with a sign or in 32 bits, longs in 64. */
export function sameValue(printed: bigint, recorded: bigint): boolean {
  return sameNumber(printed, recorded, printed >= -(1n << 31n) && printed < 1n << 32n ? 4 : 8);
}

/** The same bytes as far as both have them; the same length if strace shows the whole. */
function sameBytes(text: string, capture: Capture): Verdict {
  const printed = parseBytes(text);
  if (printed === undefined) return 'unchecked';
  const both = Math.min(printed.bytes.length, capture.bytes.length);
  if (!printed.bytes.subarray(0, both).equals(capture.bytes.subarray(0, both)))
    return differs(`${printed.bytes.toString('hex')} was recorded as ${capture.bytes.toString('hex')}`);
  if (!printed.isCut && printed.bytes.length !== capture.trueLen && !capture.isTruncated)
    return differs(`${printed.bytes.length} bytes were recorded as ${capture.trueLen}`);
  if (!printed.isCut && capture.isTruncated && printed.bytes.length <= capture.bytes.length)
    return differs(`${printed.bytes.length} bytes were recorded as truncated at ${capture.bytes.length}`);
  return 'equal';
}

/** A string in an array of chars that is longer. */
function upToZero(capture: Capture): Capture {
  const end = capture.bytes.indexOf(0);
  return end < 0 ? capture : { ...capture, bytes: capture.bytes.subarray(0, end), trueLen: end };
}

function sameStrings(text: string, capture: Capture): Verdict {
  if (!text.startsWith('[')) return 'unchecked';
  const printed = splitTopLevel(text.slice(1, -1)).map((t) => parseBytes(t));
  const recorded = splitAtZeros(capture.bytes);
  // The last string of a truncated vector may be a part.
  const whole = capture.isTruncated ? recorded.slice(0, -1) : recorded;
  if (!capture.isTruncated && whole.length !== printed.length)
    return differs(`${printed.length} strings were recorded as ${whole.length}`);
  for (const [i, string] of whole.entries()) {
    const p = printed[i];
    if (p === undefined) return 'unchecked';
    if (!(p.isCut ? p.bytes.equals(string.subarray(0, p.bytes.length)) : p.bytes.equals(string)))
      return differs(`string ${i}: ${p.bytes} was recorded as ${string}`);
  }
  return 'equal';
}

/** `[3 5]` and `~[9 19]`: the numbers of the bits that are set. */
function sameBits(text: string, bytes: Buffer, first: number): Verdict {
  const [, not, list] = /^(~?)\[([\d ]*)\]$/.exec(text) ?? [];
  if (list === undefined) return 'unchecked';
  const named = new Set(list.split(' ').filter(Boolean).map(Number));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const isSet = (((bytes[bit >>> 3] ?? 0) >>> (bit & 7)) & 1) === 1;
    if (isSet !== (named.has(bit + first) !== (not === '~')))
      return differs(`${text} was recorded as ${bytes.toString('hex')}`);
  }
  return 'equal';
}

function sameWaitStatus(text: string, bytes: Buffer): Verdict {
  const [, code] = /^\[\{WIFEXITED\(s\) && WEXITSTATUS\(s\) == (\d+)\}\]$/.exec(text) ?? [];
  const [, signal, core] =
    /^\[\{WIFSIGNALED\(s\) && WTERMSIG\(s\) == (SIG\w+)( && WCOREDUMP\(s\))?\}\]$/.exec(text) ?? [];
  const number = (constants.signals as Readonly<Record<string, number>>)[signal ?? ''];
  const status = code !== undefined ? Number(code) << 8 : number === undefined ? undefined : number | (core ? 0x80 : 0);
  if (status === undefined) return 'unchecked';
  return status === bytes.readInt32LE(0) ? 'equal' : differs(`${text} was recorded as ${bytes.readInt32LE(0)}`);
}

function sameSockaddr(text: string, bytes: Buffer): Verdict {
  if (bytes.length < 2) return bytes.length === 0 ? 'unchecked' : differs(`${text} was recorded in one byte`);
  const [, abstract] = /sun_path=@("[^"]*")/.exec(text) ?? [];
  const expected = new Map(fieldsIn(text).map((f) => [f.key, f.value]));
  const family = expected.get('sa_family');
  if (family !== BigInt(bytes.readUInt16LE(0))) return differs(`${text} was recorded as ${bytes.toString('hex')}`);
  const places: Readonly<Record<string, readonly [number, number]>> = {
    sin_port: [2, 2],
    sin_addr: [4, 4],
    sin6_port: [2, 2],
    sin6_flowinfo: [4, 4],
    sin6_addr: [8, 16],
  };
  for (const [key, [offset, size]] of Object.entries(places)) {
    const value = expected.get(key);
    if (Buffer.isBuffer(value) && !value.equals(bytes.subarray(offset, offset + size)))
      return differs(`${key} of ${text} was recorded as ${bytes.toString('hex')}`);
  }
  const path = abstract === undefined ? expected.get('sun_path') : parseBytes(abstract)?.bytes;
  if (Buffer.isBuffer(path)) {
    const rest = bytes.subarray(abstract === undefined ? 2 : 3);
    const recorded = rest.subarray(0, path.length);
    if (!recorded.equals(path) || (abstract === undefined && (rest[path.length] ?? 0) !== 0))
      return differs(`${text} was recorded as ${bytes.toString('hex')}`);
  }
  return 'equal';
}

/** Sets of capabilities, low halves first: three in one structure, their high halves in the next. */
function sameCapabilities(text: string, bytes: Buffer): Verdict {
  for (const [i, key] of ['effective', 'permitted', 'inheritable'].entries()) {
    const [, low = '0', high = '0'] = new RegExp(`${key}=(\\w+)(?:\\|(\\w+))?`).exec(text) ?? [];
    for (const [half, value] of [low, high].entries()) {
      const recorded = readLE(bytes, 12 * half + 4 * i, 4);
      if (parseNumber(value) !== recorded) return differs(`${key} of ${text} was recorded as ${bytes.toString('hex')}`);
    }
  }
  return 'equal';
}

/** Text of the elements of an array, or of one structure. */
function elementTexts(text: string): string[] {
  return text.startsWith('[') ? splitTopLevel(text.slice(1, -1)) : [text];
}

function sameLayout(text: string, bytes: Buffer, layout: Layout): Verdict {
  let compared = 0;
  for (const { key, value } of fieldsIn(text)) {
    const [offset, size, kind] = layout.fields[key] ?? [];
    if (offset === undefined || size === undefined || offset + (kind === undefined ? size : 0) > bytes.length) continue;
    compared++;
    if (typeof value === 'bigint') {
      const recorded = readLE(bytes, offset, size);
      if (!sameNumber(value, recorded, size)) return differs(`${key}=${value} was recorded as ${recorded}`);
      continue;
    }
    const recorded = bytes.subarray(offset, Math.min(offset + size, offset + value.length));
    if (!recorded.equals(value.subarray(0, recorded.length)))
      return differs(`${key}=${value} was recorded as ${recorded}`);
    if (kind === 'text' && value.length < size && (bytes[offset + value.length] ?? 0) !== 0)
      return differs(`${key}=${value} was recorded as longer`);
  }
  for (const { key, values } of arraysIn(text)) {
    const [offset, size] = layout.fields[key] ?? [];
    if (offset === undefined || size === undefined || offset + size * values.length > bytes.length) continue;
    compared++;
    for (const [i, value] of values.entries()) {
      const recorded = readLE(bytes, offset + i * size, size);
      if (!sameNumber(value, recorded, size)) return differs(`${key}[${i}]=${value} was recorded as ${recorded}`);
    }
  }
  return compared > 0 ? 'equal' : 'unchecked';
}

/** Structures: by a layout, else as numbers of one width. */
function sameStructs(text: string, capture: Capture, { desc, isCompat }: RecordedArg): Verdict {
  const { bytes } = capture;
  const plain = withoutComments(text);
  if (plain === '[]') return bytes.length === 0 ? 'equal' : differs(`nothing was recorded as ${bytes.length} bytes`);
  const texts = elementTexts(plain);
  const first = fieldsIn(texts[0] ?? '')[0]?.key;
  const unit = desc !== undefined && desc.rule !== 'FIXED' && desc.size > 1 ? desc.size : bytes.length;
  const layout = LAYOUTS.find(
    (l) => l.first === first && (l.bytes === unit || l.bytes === 0) && (l.isCompat ?? isCompat) === isCompat,
  );
  if (layout !== undefined) {
    for (const [i, part] of texts.entries()) {
      const at = i * unit;
      if (at + unit > bytes.length && capture.isTruncated) break;
      const verdict = sameLayout(part, bytes.subarray(at, at + unit), layout);
      if (verdict !== 'equal') return verdict;
    }
    return 'equal';
  }
  const numbers = numbersIn(plain);
  const width = capture.trueLen / numbers.length;
  if (![1, 2, 4, 8].includes(width)) return 'unchecked';
  for (const [i, number] of numbers.entries()) {
    if ((i + 1) * width > bytes.length) break;
    const recorded = readLE(bytes, i * width, width);
    if (!sameNumber(number, recorded, width)) return differs(`${text}: ${number} was recorded as ${recorded}`);
  }
  return 'equal';
}

/** The bytes of an iovec, in the order of the text; what strace cut ends the comparison. */
function sameIovec(text: string, capture: Capture): Verdict {
  const parts: Buffer[] = [];
  let isCut = false;
  for (const [, hex = '', cut] of text.matchAll(/iov_base="((?:\\x[0-9a-f]{2})*)"(\.\.\.)?/g)) {
    parts.push(Buffer.from(hex.replaceAll('\\x', ''), 'hex'));
    if (cut !== undefined) {
      isCut = true;
      break;
    }
  }
  if (parts.length === 0) return 'unchecked';
  const printed = Buffer.concat(parts);
  const both = Math.min(printed.length, capture.bytes.length);
  if (!printed.subarray(0, both).equals(capture.bytes.subarray(0, both)))
    return differs(`${printed.toString('hex')} was recorded as ${capture.bytes.toString('hex')}`);
  return isCut || printed.length === capture.trueLen
    ? 'equal'
    : differs(`${printed.length} bytes were recorded as ${capture.trueLen}`);
}

/** Offsets in a msghdr: namelen, iovlen, controllen, and how wide the last two are. */
const MSGHDR = { wide: [8, 24, 40, 8], compat: [4, 12, 20, 4] } as const;

function sameMessage(text: string, captures: readonly Capture[], isCompat: boolean): Verdict {
  const header = captures.find((c) => c.type === 'STRUCT');
  if (header === undefined) return differs(`${text} was recorded without its header`);
  const [namelenAt, iovlenAt, controllenAt, width] = isCompat ? MSGHDR.compat : MSGHDR.wide;
  // Of "110 => 0" the second is what the call left.
  const fields = new Map(fieldsIn(text.replace(/(msg_namelen)=\d+ => (\d+)/, '$1=$2')).map((f) => [f.key, f.value]));
  for (const [key, offset, size] of [
    ['msg_namelen', namelenAt, 4],
    ['msg_iovlen', iovlenAt, width],
    ['msg_controllen', controllenAt, width],
  ] as const) {
    const value = fields.get(key);
    if (typeof value === 'bigint' && !sameNumber(value, readLE(header.bytes, offset, size), size))
      return differs(`${key}=${value} was recorded as ${readLE(header.bytes, offset, size)}`);
  }
  const [name] = /msg_name=(\{[^}]*\})/.exec(text)?.slice(1) ?? [];
  const address = captures.find((c) => c.type === 'SOCKADDR');
  if (name !== undefined) {
    if (address === undefined) return differs(`${name} was not recorded`);
    const verdict = sameSockaddr(name, address.bytes);
    if (verdict.startsWith('differs')) return verdict;
  }
  const control = captures.find((c) => c.type === 'CONTROL');
  const printedControl = text.slice(text.indexOf('msg_control=') + 1);
  if (text.includes('msg_control=[{')) {
    const [len, level, type] = ['cmsg_len', 'cmsg_level', 'cmsg_type'].map(
      (key) => fieldsIn(printedControl).find((f) => f.key === key)?.value,
    );
    if (control === undefined) return differs('ancillary data was not recorded');
    const recorded = [
      readLE(control.bytes, 0, width),
      readLE(control.bytes, width, 4),
      readLE(control.bytes, width + 4, 4),
    ];
    if ([len, level, type].some((v, i) => v !== recorded[i]))
      return differs(`ancillary data ${len} ${level} ${type} was recorded as ${recorded.join(' ')}`);
  }
  const bytes = captures.find((c) => c.type === 'IOVEC');
  return bytes === undefined ? differs(`${text} was recorded without its bytes`) : sameIovec(text, bytes);
}

/** An array of messages: the captures of each begin with its header. */
function sameMessages(text: string, captures: readonly Capture[], isCompat: boolean): Verdict {
  const groups: Capture[][] = [];
  for (const c of captures) {
    if (c.type === 'STRUCT') groups.push([]);
    groups.at(-1)?.push(c);
  }
  const texts = elementTexts(withoutComments(text));
  if (texts.length !== groups.length) return differs(`${texts.length} messages were recorded as ${groups.length}`);
  for (const [i, part] of texts.entries()) {
    const verdict = sameMessage(part, groups[i] ?? [], isCompat);
    if (verdict !== 'equal') return verdict;
  }
  return 'equal';
}

const D_NAME_AT = { getdents64: 19, getdents: 18 } as const;

/** Directory entries, as far as they were captured. */
function sameEntries(text: string, bytes: Buffer, call: keyof typeof D_NAME_AT): Verdict {
  let at = 0;
  for (const part of elementTexts(text)) {
    if (at + 24 > bytes.length) return at > 0 ? 'equal' : 'unchecked';
    const fields = new Map(fieldsIn(part).map((f) => [f.key, f.value]));
    const length = bytes.readUInt16LE(at + 16);
    const name = fields.get('d_name');
    if (fields.get('d_ino') !== bytes.readBigUInt64LE(at) || fields.get('d_reclen') !== BigInt(length))
      return differs(`${part} was recorded as ${bytes.subarray(at, at + 24).toString('hex')}`);
    const recorded = bytes.subarray(at + D_NAME_AT[call], at + length);
    if (Buffer.isBuffer(name) && !name.subarray(0, recorded.length).equals(recorded.subarray(0, name.length)))
      return differs(`${name} was recorded as ${recorded}`);
    at += length;
  }
  return 'equal';
}

function sameMemory(text: string, arg: RecordedArg, captures: readonly Capture[], call: string): Verdict {
  const { desc } = arg;
  const [capture] = captures;
  if (capture === undefined) return differs(`${text} was not recorded`);
  switch (desc?.kind) {
    case 'MSG':
      return sameMessage(text, captures, arg.isCompat);
    case 'MMSG':
      return sameMessages(text, captures, arg.isCompat);
    case 'IOVEC':
      return sameIovec(text, capture);
    case 'STRV':
      return sameStrings(text, capture);
    case 'SOCKADDR':
      return sameSockaddr(text, capture.bytes);
    default:
  }
  // The zero that ends the path is counted by the call and not printed.
  const shown = call === 'getcwd' ? text.replace(/"$/, '\\x00"') : text;
  const isName = desc?.format === 'str' || (desc?.kind === 'STRUCT' && text.length < 4 * capture.bytes.length);
  const asBytes = sameBytes(shown, isName ? upToZero(capture) : capture);
  if (asBytes !== 'unchecked') return asBytes;
  if (call === 'getdents64' || call === 'getdents') return sameEntries(text, capture.bytes, call);
  if (text.startsWith('{effective=')) return sameCapabilities(text, capture.bytes);
  if (text.startsWith('[{W')) return sameWaitStatus(text, capture.bytes);
  if (desc?.format === 'sigset') return sameBits(text, capture.bytes, 1);
  if (desc?.rule === 'BITS' || call.endsWith('affinity')) return sameBits(text, capture.bytes, 0);
  return sameStructs(text, capture, arg);
}

/** `[110 => 9]` and `[1] => [7]` as the two; others stand for both. */
function inAndOut(text: string): readonly [string, string] | undefined {
  const inner = /^\[([^[\]]*) => ([^[\]]*)\]$/.exec(text);
  if (inner) return [`[${inner[1]}]`, `[${inner[2]}]`];
  const parts = text.split(' => ');
  return parts.length === 2 && !text.includes('msg_namelen') ? [parts[0] ?? '', parts[1] ?? ''] : undefined;
}

/** The bytes of the interfaces' addresses before and after the call; the addresses themselves are not captured. */
function sameIfconf(text: string, arg: RecordedArg): Verdict | undefined {
  const [, first, last] = /^\{ifc_len=(\d+)(?: => (\d+))?, ifc_buf=/.exec(withoutComments(text)) ?? [];
  if (first === undefined) return undefined;
  const lengths: readonly (readonly [string, readonly Capture[]])[] =
    last === undefined
      ? [[first, arg.atExit.length > 0 ? arg.atExit : arg.atEntry]]
      : [
          [first, arg.atEntry],
          [last, arg.atExit],
        ];
  for (const [length, [capture]] of lengths) {
    if (capture === undefined) return differs(`${text} was not recorded`);
    if (BigInt(length) !== readLE(capture.bytes, 0, 4))
      return differs(`ifc_len=${length} was recorded as ${readLE(capture.bytes, 0, 4)}`);
  }
  return 'equal';
}

/** Compares one argument as strace decoded it. */
export function compareArg(call: string, text: string, arg: RecordedArg): Verdict {
  // statx's flags have a group that is empty when it is zero.
  const number = parseNumber(text.replace(/^\|/, ''));
  if (number !== undefined)
    return sameValue(number, arg.value) ? 'equal' : differs(`${text} was recorded as 0x${arg.value.toString(16)}`);
  const ifconf = sameIfconf(text, arg);
  if (ifconf !== undefined) return ifconf;
  const both = inAndOut(text);
  if (both !== undefined) {
    const before = sameMemory(both[0], arg, arg.atEntry, call);
    const isWritten = arg.desc?.flags.includes('OUT') === true;
    return before === 'equal' && isWritten ? sameMemory(both[1], arg, arg.atExit, call) : before;
  }
  // Of what is read and written, strace prints one: which one depends on the call.
  const verdicts = [arg.atExit, arg.atEntry].filter((c) => c.length > 0).map((c) => sameMemory(text, arg, c, call));
  return verdicts.find((v) => v === 'equal') ?? verdicts[0] ?? sameMemory(text, arg, [], call);
}

/** What strace prints after the result of poll and select: what the call left in its arguments. */
export function compareTail(ret: string, args: readonly RecordedArg[]): Verdict {
  const [, tail] = /^\d+ \((.*)\)$/.exec(ret) ?? [];
  if (tail === undefined) return 'unchecked';
  const polled = tail.startsWith('[{fd=') ? args[0]?.atExit[0]?.bytes : undefined;
  if (polled !== undefined) {
    for (const [, fd, events] of tail.matchAll(/fd=(\d+), revents=(0x[0-9a-f]+)/g)) {
      let found = false;
      for (let at = 0; at + 8 <= polled.length; at += 8)
        if (polled.readInt32LE(at) === Number(fd) && polled.readUInt16LE(at + 6) === Number(events)) found = true;
      if (!found) return differs(`fd ${fd} revents ${events} was recorded as ${polled.toString('hex')}`);
    }
    return 'equal';
  }
  let compared = 0;
  for (const [i, word] of (['in', 'out', 'except'] as const).entries()) {
    const [, set] = new RegExp(`\\b${word} (\\[[\\d ]*\\])`).exec(tail) ?? [];
    const bytes = args[i + 1]?.atExit[0]?.bytes;
    if (set === undefined) continue;
    const verdict = bytes === undefined ? differs(`${word} ${set} was not recorded`) : sameBits(set, bytes, 0);
    if (verdict !== 'equal') return verdict;
    compared++;
  }
  return compared > 0 ? 'equal' : 'unchecked';
}
