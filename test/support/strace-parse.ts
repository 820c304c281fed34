// SPDX-License-Identifier: MIT
/**
 * The output of `strace -ff -X raw -v -xx` and of `strace -ff -e raw=all`, one file a thread: calls with their
 * arguments as text. Nothing is interpreted here but where one argument ends and the next begins.
 */
import { constants } from 'node:os';

export interface StraceCall {
  readonly name: string;
  readonly args: readonly string[];
  /** What stands after the equals sign. */
  readonly ret: string;
}

/** Errors that never leave the kernel; in raw mode they stand as others do. */
const RESTARTS: Readonly<Record<string, number>> = {
  ERESTARTSYS: 512,
  ERESTARTNOINTR: 513,
  ERESTARTNOHAND: 514,
  ERESTART_RESTARTBLOCK: 516,
};

/** Errors without a name in Node. */
const ERRORS: Readonly<Record<string, number>> = { ENOPKG: 65 };

const OPENING = '([{';
const CLOSING = ')]}';

/** Where the bracket that opens at `from` closes; -1 if it does not. Strings and comments hold no brackets. */
function closingBracket(line: string, from: number): number {
  let depth = 0;
  for (let i = from; i < line.length; i++) {
    const c = line[i] ?? '';
    if (c === '"') {
      i = line.indexOf('"', i + 1);
      if (i < 0) return -1;
    } else if (line.startsWith('/*', i)) {
      i = line.indexOf('*/', i + 2) + 1;
      if (i <= 0) return -1;
    } else if (OPENING.includes(c)) depth++;
    else if (CLOSING.includes(c) && --depth === 0) return i;
  }
  return -1;
}

/** Parts between the commas that stand in no bracket, string or comment. */
export function splitTopLevel(text: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text[i] ?? '';
    if (c === '"') i = text.indexOf('"', i + 1);
    else if (text.startsWith('/*', i)) i = text.indexOf('*/', i + 2) + 1;
    else if (OPENING.includes(c)) i = closingBracket(text, i);
    else if (c === ',') {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
    if (i < 0) throw new Error(`strace's output has something that does not end: ${text}`);
  }
  const last = text.slice(start).trim();
  if (last !== '' || parts.length > 0) parts.push(last);
  return parts;
}

/** Text without comments. */
export function withoutComments(text: string): string {
  return text.replace(/ ?\/\*.*?\*\//g, '');
}

/**
 * The calls of one thread.
 * @throws Error naming the line that is no call, signal, end or note of strace
 */
export function parseStrace(text: string): StraceCall[] {
  const calls: StraceCall[] = [];
  for (const line of text.split('\n')) {
    if (line === '' || /^(---|\+\+\+|strace: |\[ Process PID=)/.test(line)) continue;
    const open = line.indexOf('(');
    const unfinished = line.indexOf(' <unfinished ...>');
    if (unfinished >= 0) {
      const args = splitTopLevel(line.slice(open + 1, unfinished).replace(/, ?$/, ''));
      calls.push({ name: line.slice(0, open), args, ret: '?' });
      continue;
    }
    const close = open < 0 ? -1 : closingBracket(line, open);
    const ret = close < 0 ? null : /^ *= (.+)$/.exec(line.slice(close + 1));
    if (!ret?.[1]) throw new Error(`strace's output has a line that is no call: ${line}`);
    calls.push({ name: line.slice(0, open), args: splitTopLevel(line.slice(open + 1, close)), ret: ret[1] });
  }
  return calls;
}

/** A number of C, or several joined by |; undefined: it is none. */
export function parseNumber(text: string): bigint | undefined {
  if (text === 'NULL') return 0n;
  if (!/^-?(0x[0-9a-f]+|\d+)(\|(0x[0-9a-f]+|\d+))*$/.test(text)) return undefined;
  return text.split('|').reduce((sum, part) => {
    const negative = part.startsWith('-');
    const digits = negative ? part.slice(1) : part;
    const value = /^0\d/.test(digits) ? BigInt(`0o${digits.slice(1)}`) : BigInt(digits);
    return sum | (negative ? -value : value);
  }, 0n);
}

/** The result as the kernel returned it; undefined: strace does not know it. */
export function parseResult(ret: string): bigint | undefined {
  const [, restart] = /^\? (ERESTART\w+)/.exec(ret) ?? [];
  if (restart !== undefined) return -BigInt(RESTARTS[restart] ?? 0);
  if (ret.startsWith('?')) return undefined;
  const [, name] = /^-1 (E\w+)/.exec(ret) ?? [];
  if (name !== undefined) {
    const number = RESTARTS[name] ?? ERRORS[name] ?? (constants.errno as Readonly<Record<string, number>>)[name];
    if (number === undefined) throw new Error(`strace names an error that this host does not know: ${name}`);
    return -BigInt(number);
  }
  return parseNumber(ret.split(' ')[0] ?? '');
}

/** Bytes of a string that -xx wrote; undefined: it is none. `cut`: strace shows only its start. */
export function parseBytes(text: string): { readonly bytes: Buffer; readonly isCut: boolean } | undefined {
  const [, hex, cut] = /^"((?:\\x[0-9a-f]{2})*)"(\.\.\.)?$/.exec(text) ?? [];
  return hex === undefined
    ? undefined
    : { bytes: Buffer.from(hex.replaceAll('\\x', ''), 'hex'), isCut: cut !== undefined };
}

/** Numbers in the order in which they stand, outside of strings and comments. */
export function numbersIn(text: string): bigint[] {
  const plain = withoutComments(text).replace(/"[^"]*"/g, '');
  return [...plain.matchAll(/(?<![\w.])-?(?:0x[0-9a-f]+|\d+)(?:\|(?:0x[0-9a-f]+|\d+))*(?![\w.])/g)].map(
    (m) => parseNumber(m[0]) ?? 0n,
  );
}

/** `key=value` pairs whose value is a number or a string, in order; nested ones too. Flags without one set are empty. */
export function fieldsIn(text: string): { readonly key: string; readonly value: bigint | Buffer }[] {
  const found: { key: string; value: bigint | Buffer }[] = [];
  const plain = withoutComments(text);
  for (const [, key = '', raw = ''] of plain.matchAll(
    /(\w+)=("[^"]*"|-?(?:0x[0-9a-f]+|\d+)(?:\|(?:0x[0-9a-f]+|\d+))*|NULL|(?=[,}]))(?![\w.])/g,
  )) {
    const value = raw === '' ? 0n : (parseNumber(raw) ?? parseBytes(raw)?.bytes);
    if (value !== undefined) found.push({ key, value });
  }
  return found;
}

/** `key=[1, 2]` and `key=[[VINTR]=0x3, [VQUIT]=0x1c]`: the numbers of arrays, in order. */
export function arraysIn(text: string): { readonly key: string; readonly values: readonly bigint[] }[] {
  return [...withoutComments(text).matchAll(/(\w+)=\[((?:(?:\[\w+\]=)?\w+(?:, )?)+)\]/g)].map(
    ([, key = '', list = '']) => ({
      key,
      values: list.split(', ').map((element) => parseNumber(element.replace(/^\[\w+\]=/, '')) ?? 0n),
    }),
  );
}
