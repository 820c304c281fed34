// SPDX-License-Identifier: MIT
/**
 * What the counter (lab/vm/plugins/counter.c) counted: instructions of the guest's programs and of its kernel, by
 * function, in each span.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { ioError, LabError } from '../util/errors.js';

const MAGIC = 'LMNACNT1';
const HEADER_BYTES = 32;

/** A module is loaded at the beginning of this range (Documentation/arch/x86/x86_64/mm.rst). */
const MODULES_ADDRESS = 0xffffffffa0000000n;
export const MODULES = '[modules]';

/** The kernel's functions by ascending address. */
export interface Symbols {
  readonly addresses: BigUint64Array;
  readonly names: readonly string[];
}

/** Instructions executed in one span. */
export interface SpanCounts {
  readonly user: number;
  readonly kernel: number;
  /** Of the kernel's, those of each function that executed any. */
  readonly functions: Readonly<Record<string, number>>;
}

/** The functions of a System.map; of several names of one address the first. Pure. */
export function parseSymbols(map: string): Symbols {
  const found = new Map<bigint, string>();
  for (const line of map.split('\n')) {
    const match = /^([0-9a-f]{16}) [tTwW] (\S+)$/.exec(line);
    const address = match?.[1] === undefined ? 0n : BigInt(`0x${match[1]}`);
    // Below lie addresses of per-CPU data, which are no places in the text.
    if (match?.[2] !== undefined && address >> 63n === 1n && !found.has(address)) found.set(address, match[2]);
  }
  if (found.size === 0) throw new LabError('LAB_KERNEL_BUILD', "the kernel's System.map names no function");
  found.set(MODULES_ADDRESS, MODULES);
  const sorted = [...found].sort(([a], [b]) => (a < b ? -1 : 1));
  return { addresses: BigUint64Array.from(sorted, ([address]) => address), names: sorted.map(([, name]) => name) };
}

/** Writes the addresses as the counter reads them. */
export async function writeSymbols(symbols: Symbols, file: string): Promise<void> {
  try {
    await writeFile(file, Buffer.from(symbols.addresses.buffer));
  } catch (error) {
    throw ioError(`writing ${file}`, error);
  }
}

/** Parses the counter's file; LAB_RUN_CORRUPT if it is none, or a span did not end. Pure. */
export function parseCounts(bytes: Buffer, symbols: Symbols): SpanCounts[] {
  const columns = symbols.names.length + 1;
  const isCounter = bytes.length >= HEADER_BYTES && bytes.toString('latin1', 0, MAGIC.length) === MAGIC;
  if (!isCounter || bytes.readUInt32LE(8) !== symbols.names.length)
    throw new LabError('LAB_RUN_CORRUPT', 'the file of instruction counts is not what the counter writes');
  const spans = bytes.readUInt32LE(12);
  const begun = Number(bytes.readBigUInt64LE(16));
  if (begun !== spans)
    throw new LabError('LAB_RUN_CORRUPT', `${begun} spans of the work began, ${spans} came to their end`);
  return Array.from({ length: spans }, (_, span) => {
    const at = (column: number) => Number(bytes.readBigUInt64LE(HEADER_BYTES + 8 * ((1 + span) * columns + column)));
    let kernel = 0;
    const functions: Record<string, number> = {};
    for (const [i, name] of symbols.names.entries()) {
      const count = at(1 + i);
      if (count === 0) continue;
      kernel += count;
      functions[name] = (functions[name] ?? 0) + count;
    }
    return { user: at(0), kernel, functions };
  });
}

/** Reads them from where a run left them. */
export async function readCounts(file: string, symbols: Symbols): Promise<SpanCounts[]> {
  try {
    return parseCounts(await readFile(file), symbols);
  } catch (error) {
    throw ioError(`reading the instruction counts from ${file}`, error);
  }
}
