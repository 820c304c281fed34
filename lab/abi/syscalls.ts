// SPDX-License-Identifier: MIT
/**
 * The system-call table: what the driver captures of each call, and names for people.
 *
 * `args` has one word per argument; k is the index of another argument, from 0:
 *   int      a value            fd       a file descriptor      ptr      an address, not followed
 *   path     a path             str      another NUL-terminated string (captured as a PATH TLV too)
 *   strv     a vector of strings, as argv
 *   in:k     a buffer the call reads; argument k is its length
 *   out:k    a buffer the call wrote; the result is its length, at most argument k
 *   sock:k   a socket address the call reads; argument k is its length
 *   iov:k    an iovec the call reads; argument k counts its entries; the bytes are gathered
 *   sin:N    a structure of N bytes the call reads    sout:N   one that it wrote (N is a multiple of 8)
 *
 * Under compat (ia32 rows, and x32's own numbers) strv, iov, sin and sout have other layouts; they are `ptr` there.
 */
import { type SyscallRow, UNIMPLEMENTED } from './syscall-row.js';
import { RESERVED_64, SYSCALLS_64, SYSCALLS_X32 } from './syscalls-64.js';
import { RESERVED_IA32, SYSCALLS_IA32 } from './syscalls-ia32.js';

/** Argument kinds and their numbers in the generated C. */
export const ARG_KINDS = [
  { name: 'INT', word: 'int', value: 0, doc: 'a value' },
  { name: 'FD', word: 'fd', value: 1, doc: 'a file descriptor' },
  { name: 'PTR', word: 'ptr', value: 2, doc: 'an address, not followed' },
  { name: 'PATH', word: 'path', value: 3, doc: 'a NUL-terminated path or other string' },
  { name: 'STRV', word: 'strv', value: 4, doc: 'a vector of strings' },
  { name: 'BUF_IN', word: 'in', value: 5, doc: 'a buffer in; p: index of its length' },
  { name: 'BUF_OUT', word: 'out', value: 6, doc: 'a buffer out, min(result, args[p]) bytes' },
  { name: 'SOCKADDR', word: 'sock', value: 7, doc: 'a socket address in; p: index of its length' },
  { name: 'STRUCT_IN', word: 'sin', value: 8, doc: 'a structure in; p: bytes / 8' },
  { name: 'STRUCT_OUT', word: 'sout', value: 9, doc: 'a structure out; p: bytes / 8' },
  { name: 'IOVEC', word: 'iov', value: 10, doc: 'an iovec in; p: index of its count' },
] as const;

export type Abi = '64' | 'ia32' | 'x32';

export interface ArgDesc {
  readonly word: string;
  /** Number of the kind in the generated C. */
  readonly kind: number;
  /** What the C table's `p` holds: index of the length argument, or bytes / 8, or 0. */
  readonly p: number;
}

const KIND_BY_WORD = new Map<string, number>([...ARG_KINDS.map((k) => [k.word, k.value] as const), ['str', 3]]);
const INDEXED = new Set(['in', 'out', 'sock', 'iov']);
const SIZED = new Set(['sin', 'sout']);
const COMPAT_LAYOUT = new Set(['strv', 'iov', 'sin', 'sout']);

/**
 * Parses the `args` of a row.
 * @throws Error naming the call and the word that is not in the language
 */
export function parseArgs(row: Pick<SyscallRow, 'name' | 'args'>): ArgDesc[] {
  const words = row.args === '' ? [] : row.args.split(' ');
  if (words.length > 6) throw new Error(`syscalls.ts: ${row.name} has ${words.length} arguments; at most 6 exist`);
  return words.map((text) => {
    const [word = '', number] = text.split(':');
    const kind = KIND_BY_WORD.get(word);
    const wantsNumber = INDEXED.has(word) || SIZED.has(word);
    const value = number === undefined ? 0 : Number(number);
    const fits = INDEXED.has(word) ? value < words.length : value % 8 === 0 && value > 0 && value / 8 <= 255;
    if (
      kind === undefined ||
      wantsNumber !== (number !== undefined) ||
      (wantsNumber && !(Number.isInteger(value) && fits))
    )
      throw new Error(
        `syscalls.ts: ${row.name} has the argument word "${text}", which the language at the top of the file does not know`,
      );
    return { word, kind, p: SIZED.has(word) ? value / 8 : value };
  });
}

/** The same arguments where memory layouts are compat: what differs becomes a plain pointer. */
export function compatArgs(args: string): string {
  return args
    .split(' ')
    .map((text) => (COMPAT_LAYOUT.has(text.split(':')[0] ?? '') ? 'ptr' : text))
    .join(' ');
}

function x32Rows(): SyscallRow[] {
  return SYSCALLS_X32.map(([nr, name, args]) => {
    const row = SYSCALLS_64.find((r) => r.name === name);
    if (!row) throw new Error(`syscalls-64.ts: x32 number ${nr} is called ${name}, which no 64-bit row is`);
    return { ...row, nr, args: args ?? compatArgs(row.args) };
  });
}

/** Rows of the 64-bit table, x32's own numbers included. */
export const ROWS_64: readonly SyscallRow[] = [...SYSCALLS_64, ...x32Rows()];
export const ROWS_IA32: readonly SyscallRow[] = SYSCALLS_IA32;
export const RESERVED: Readonly<Record<'64' | 'ia32', readonly (readonly [number, number])[]>> = {
  '64': RESERVED_64,
  ia32: RESERVED_IA32,
};

const BY_NUMBER_64: readonly (SyscallRow | undefined)[] = byNumber(ROWS_64);
const BY_NUMBER_IA32: readonly (SyscallRow | undefined)[] = byNumber(ROWS_IA32);

function byNumber(rows: readonly SyscallRow[]): (SyscallRow | undefined)[] {
  const table: (SyscallRow | undefined)[] = [];
  for (const row of rows) table[row.nr] = row;
  return table;
}

/** ABI from the low bits of an ENTRY's or EXIT's flags. */
export function abiOf(flags: number): Abi {
  return (flags & 3) === 1 ? 'ia32' : (flags & 3) === 2 ? 'x32' : '64';
}

/** The row of a number, or undefined for a number nobody has. */
export function syscallRow(nr: number, abi: Abi): SyscallRow | undefined {
  return (abi === 'ia32' ? BY_NUMBER_IA32 : BY_NUMBER_64)[nr];
}

/**
 * What an EXIT carries instead of the number: execve() and rt_sigreturn() replace the registers the number was in.
 * Its ENTRY is the thread's last one.
 */
const NUMBER_REPLACED = 0xffff;

/** The name of a number; `syscall_N` for a number nobody has. */
export function syscallName(nr: number, abi: Abi): string {
  if (nr === NUMBER_REPLACED) return 'execve|rt_sigreturn';
  return syscallRow(nr, abi)?.name ?? `syscall_${nr}`;
}

/**
 * Joins the tables against facts taken from the kernel source (`syscall-facts.txt`).
 * @returns one line per disagreement; empty when they agree
 */
export function joinWithFacts(factsText: string): string[] {
  const problems: string[] = [];
  const unmatched = new Map<string, SyscallRow>();
  for (const row of ROWS_64) unmatched.set(`${row.nr >= 512 ? 'x32' : '64'} ${row.nr}`, row);
  for (const row of ROWS_IA32) unmatched.set(`ia32 ${row.nr}`, row);
  if (unmatched.size !== ROWS_64.length + ROWS_IA32.length) problems.push('a number has two rows');
  for (const line of factsText.split('\n')) {
    if (line === '' || line.startsWith('#')) continue;
    const [abi = '', nr = '', name = '', count = ''] = line.split(' ');
    const row = unmatched.get(`${abi} ${nr}`);
    unmatched.delete(`${abi} ${nr}`);
    if (!row) problems.push(`${abi} ${nr} ${name}: the kernel has it, the table does not`);
    else if (row.name !== name) problems.push(`${abi} ${nr}: the kernel calls it ${name}, the table ${row.name}`);
    else if ((row.args === UNIMPLEMENTED && count !== '6') !== (count === '-'))
      problems.push(`${abi} ${nr} ${name}: only one of kernel and table has it unimplemented`);
    else if (count !== '-' && String(parseArgs(row).length) !== count)
      problems.push(`${abi} ${nr} ${name}: the kernel takes ${count} arguments, the table ${parseArgs(row).length}`);
  }
  for (const [key, row] of unmatched) problems.push(`${key} ${row.name}: the table has it, the kernel does not`);
  return problems;
}
