// SPDX-License-Identifier: MIT
/** Whether the files of a run are those that its chain names: every byte, and no file more or less. */
import { lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
import type { ChainReport, SignedFile } from './chain.js';
import { DIGESTS } from './digests.js';
import type { Finding } from './log.js';
import { damageOf } from './segments.js';

export interface FilesReport {
  readonly findings: readonly Finding[];
  /** Bytes that were read and compared. */
  readonly bytes: number;
  /** There, and not named by a chain that was not closed. */
  readonly unsigned: readonly { readonly file: string; readonly bytes: number }[];
  /** Only their sizes were compared. */
  readonly skipped: readonly string[];
}

export interface FilesOptions {
  /** Compare the sizes of disks, not their content. */
  readonly isQuick: boolean;
  readonly onFile?: (file: string) => void;
}

/** What a chain that was not closed cannot leave out by its own word. */
const ALWAYS_APART = ['chain.jsonl', 'chain.lock', 'custody.jsonl', 'custody.lock', 'timestamps/*'];

export async function checkFiles(dir: string, chain: ChainReport, options: FilesOptions): Promise<FilesReport> {
  const findings: Finding[] = [];
  const unsigned: { file: string; bytes: number }[] = [];
  const skipped: string[] = [];
  const seen = new Set<string>();
  const byDigest = new Map([...chain.files.values()].map((signed) => [signed.digest, signed.file]));
  let bytes = 0;
  for (const { file, size } of walk(dir, chain.apart ?? ALWAYS_APART)) {
    const signed = chain.files.get(file);
    seen.add(file);
    if (size === undefined) findings.push({ file, at: '', what: 'is neither a file nor a folder' });
    else if (signed === undefined) {
      if (chain.apart === undefined) unsigned.push({ file, bytes: size });
      else findings.push({ file, at: '', what: `was put in: ${size} bytes that the chain does not name` });
    } else {
      options.onFile?.(file);
      const isSkipped = options.isQuick && file.startsWith('disk/');
      const result = await compare(dir, signed, size, byDigest, isSkipped);
      if (typeof result === 'number') bytes += result;
      else findings.push(result);
      if (isSkipped) skipped.push(file);
    }
  }
  for (const { file, entry } of chain.files.values()) {
    if (!seen.has(file)) findings.push({ file, at: '', what: `is gone: entry ${entry} of the chain names it` });
  }
  return { findings, bytes, unsigned, skipped };
}

/** Bytes that were compared, or what is wrong. */
async function compare(
  dir: string,
  signed: SignedFile,
  size: number,
  byDigest: ReadonlyMap<string, string>,
  isSkipped: boolean,
): Promise<number | Finding> {
  const { file } = signed;
  const full = path.join(dir, file);
  const lengths = `${size} bytes, entry ${signed.entry} of the chain says ${signed.bytes}`;
  if (isSkipped)
    return size === signed.bytes ? 0 : { file, at: `offset ${Math.min(size, signed.bytes)}`, what: lengths };
  const seen = await DIGESTS[signed.by](full, size);
  if (size === signed.bytes && seen === signed.digest) return size;
  const other = byDigest.get(seen);
  if (other !== undefined) return { file, at: '', what: `holds what belongs into ${other}` };
  const offset = file.endsWith('.seg') ? await damageOf(full) : undefined;
  const at = offset !== undefined ? `offset ${offset}` : '';
  if (size !== signed.bytes) return { file, at, what: `${size < signed.bytes ? 'was cut' : 'has grown'}: ${lengths}` };
  return {
    file,
    at,
    what: `was changed: ${signed.by} ${seen}, entry ${signed.entry} of the chain says ${signed.digest}`,
  };
}

function isApart(file: string, apart: readonly string[]): boolean {
  return apart.some((name) => (name.endsWith('*') ? file.startsWith(name.slice(0, -1)) : file === name));
}

/** Everything below a folder that is no folder, without what stands apart; what is no file either has no size. */
export function* walk(
  dir: string,
  apart: readonly string[],
  folder = '',
): Generator<{ readonly file: string; readonly size: number | undefined }, void, void> {
  const entries = readdirSync(path.join(dir, folder), { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const file = folder === '' ? entry.name : `${folder}/${entry.name}`;
    if (isApart(entry.isDirectory() ? `${file}/` : file, apart)) continue;
    if (entry.isDirectory()) yield* walk(dir, apart, file);
    else yield { file, size: entry.isFile() ? lstatSync(path.join(dir, file)).size : undefined };
  }
}
