// SPDX-License-Identifier: MIT
/** The system-call tables: what the driver captures of each call, what it can do to a filesystem, names for people. */
import { parseArgs } from './arguments.js';
import { type Abi, type CallEffect, type Ia32Row, type SyscallRow, UNIMPLEMENTED } from './syscall-row.js';
import { RESERVED_64, SYSCALLS_64, SYSCALLS_X32 } from './syscalls-64.js';
import { RESERVED_IA32, SYSCALLS_IA32 } from './syscalls-ia32.js';

export type { Abi };

/** From this number on, a call is x32's own. */
export const FIRST_X32 = 512;

function row64(name: string): SyscallRow | undefined {
  return SYSCALLS_64.find((r) => r.name === name);
}

function x32Rows(): SyscallRow[] {
  return SYSCALLS_X32.map(([nr, name, args]) => {
    const row = row64(name);
    if (!row || (nr < FIRST_X32 && nr !== row.nr))
      throw new Error(`syscalls-64.ts: x32 number ${nr} is called ${name}, which no 64-bit row is`);
    return { ...row, nr, args: args ?? row.args };
  });
}

/** The 64-bit call that an ia32 call is the same as. */
function twin(name: string): SyscallRow | undefined {
  for (const ending of [/$/, /_time64$/, /64$/, /32$/, /_64$/]) {
    const row = ending.test(name) ? row64(name.replace(ending, '')) : undefined;
    if (row) return row;
  }
  return undefined;
}

function effectOf(row: Ia32Row): CallEffect {
  const effect = row.effect ?? twin(row.name)?.effect;
  if (effect === undefined)
    throw new Error(`syscalls-ia32.ts: ${row.name} has no effect, and no 64-bit call has that name`);
  return effect;
}

export const ROWS_64: readonly SyscallRow[] = SYSCALLS_64;
/** Of x32 with compat layouts; its other numbers are as in the 64-bit table. */
export const ROWS_X32: readonly SyscallRow[] = x32Rows();
export const ROWS_IA32: readonly SyscallRow[] = SYSCALLS_IA32.map((row: Ia32Row) => ({
  ...row,
  effect: effectOf(row),
}));
export const RESERVED: Readonly<Record<'64' | 'ia32', readonly (readonly [number, number])[]>> = {
  '64': RESERVED_64,
  ia32: RESERVED_IA32,
};

const BY_NUMBER_64: readonly (SyscallRow | undefined)[] = byNumber(ROWS_64);
const BY_NUMBER_X32: readonly (SyscallRow | undefined)[] = byNumber(ROWS_X32);
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

/** How a call finds addresses and longs in memory: with 8 bytes, or with 4 as ia32 or x32 has them. */
export function layoutOf(nr: number, abi: Abi): Abi {
  return abi === 'x32' && nr < FIRST_X32 && BY_NUMBER_X32[nr] === undefined ? '64' : abi;
}

/** The row of a number, or undefined for a number nobody has. */
export function syscallRow(nr: number, abi: Abi): SyscallRow | undefined {
  if (abi === 'ia32') return BY_NUMBER_IA32[nr];
  return (abi === 'x32' ? BY_NUMBER_X32[nr] : undefined) ?? BY_NUMBER_64[nr];
}

/**
 * What an EXIT carries instead of the number: execve() and rt_sigreturn() replace the registers the number was in.
 * Its ENTRY is the thread's last one.
 */
export const NUMBER_REPLACED = 0xffff;
/** Of a call whose number is below -1, or too large for the record: it has no row, and does nothing. */
const NUMBER_BEYOND = 0xfffe;

/** Every name of a system call that there is, in any ABI. */
export const SYSCALL_NAMES: readonly string[] = [...new Set([...ROWS_64, ...ROWS_IA32].map(({ name }) => name))];

/**
 * The name of a number; `syscall_N` for a number nobody has.
 * @param isEntry of an ENTRY: the number -1 is what a tracer put there, so that the call is skipped
 */
export function syscallName(nr: number, abi: Abi, isEntry = false): string {
  if (nr === NUMBER_REPLACED) return isEntry ? 'syscall_-1' : 'execve|rt_sigreturn';
  if (nr === NUMBER_BEYOND) return 'syscall_beyond';
  return syscallRow(nr, abi)?.name ?? `syscall_${nr}`;
}

/**
 * Joins the tables against facts taken from the kernel source (`syscall-facts.txt`).
 * @returns one line per disagreement; empty when they agree
 */
export function joinWithFacts(factsText: string): string[] {
  const problems: string[] = [];
  const unmatched = new Map<string, SyscallRow>();
  const ownX32 = ROWS_X32.filter(({ nr }) => nr >= FIRST_X32);
  for (const row of ROWS_64) unmatched.set(`64 ${row.nr}`, row);
  for (const row of ownX32) unmatched.set(`x32 ${row.nr}`, row);
  for (const row of ROWS_IA32) unmatched.set(`ia32 ${row.nr}`, row);
  if (unmatched.size !== ROWS_64.length + ownX32.length + ROWS_IA32.length) problems.push('a number has two rows');
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
