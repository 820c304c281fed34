// SPDX-License-Identifier: MIT
/** What the chain of a run says, and whether the right keys said it. */
import type { KeyObject } from 'node:crypto';
import { DIGESTS, type DigestName } from './digests.js';
import { type Entry, type Finding, parseKey, readSignedLog } from './log.js';

export const CHAIN_FILE = 'chain.jsonl';

export interface SignedFile {
  readonly file: string;
  readonly bytes: number;
  readonly digest: string;
  /** How it was made. */
  readonly by: DigestName;
  /** Number of the entry that names it. */
  readonly entry: number;
}

export interface ChainReport {
  readonly hashes: readonly string[];
  /** Of the first entry. */
  readonly id: string | undefined;
  readonly run: string | undefined;
  /** Of a boot that a server received: the machine, and the server's identity. */
  readonly machine: string | undefined;
  readonly server: string | undefined;
  /** Public key of the lab that recorded it, base64. */
  readonly lab: string | undefined;
  readonly files: ReadonlyMap<string, SignedFile>;
  /** Of the last entry of an ended chain: the names that it leaves out. */
  readonly apart: readonly string[] | undefined;
  /** Times at which a killed writer was followed by another. */
  readonly resumed: readonly string[];
  readonly findings: readonly Finding[];
}

/** Of a chain, as its first entry says. One of format 1 has no digests in sixteen streams. */
const FORMATS: readonly unknown[] = [1, 2];
const NAMES = Object.keys(DIGESTS) as DigestName[];

const KINDS = ['open', 'segment', 'resume', 'close'] as const;

/** Checks the chain of the run in `dir`. */
export async function checkChain(dir: string): Promise<ChainReport> {
  const log = await readSignedLog(dir, CHAIN_FILE, '0'.repeat(64));
  const { findings } = log;
  const files = new Map<string, SignedFile>();
  const resumed: string[] = [];
  let apart: readonly string[] | undefined;
  let runKey: KeyObject | undefined;
  const first = log.entries[0]?.value;
  const lab = parseKey(first?.lab);
  if (log.hashes.length === 0 && findings.length === 0)
    findings.push({ file: CHAIN_FILE, at: '', what: 'holds no entry' });

  const check = (entry: Entry, number: number): string | undefined => {
    const { value } = entry;
    const kind = KINDS.find((name) => name === value.kind);
    if (kind === undefined) return `is of no kind that a chain has: ${String(value.kind)}`;
    if ((kind === 'open') !== (number === 0)) return kind === 'open' ? 'opens the chain again' : 'opens no chain';
    if (apart !== undefined) return 'comes after the chain was closed';
    const isLabs = kind === 'open' || kind === 'resume';
    const key = isLabs ? lab : runKey;
    if (key === undefined) return 'cannot be checked: the key that should have signed it is not known';
    if (!entry.isSignedBy(key)) return `is not signed by the ${isLabs ? "lab's" : "run's"} key`;
    if (kind === 'open' && !FORMATS.includes(value.format))
      return `begins a chain of format ${String(value.format)}: formats ${FORMATS.join(' and ')} are known here`;
    if (isLabs) {
      runKey = parseKey(value.key);
      if (runKey === undefined) return 'names no key for what follows';
    }
    if (kind === 'resume') resumed.push(String(value.time));
    const named = kind === 'segment' ? [value] : kind === 'resume' ? value.found : kind === 'close' ? value.files : [];
    for (const item of Array.isArray(named) ? named : [undefined]) {
      const file = parseFile(item, number);
      if (file === undefined) return 'names a file in a way that is not understood';
      if (files.has(file.file)) return `names ${file.file}, which was named before`;
      files.set(file.file, file);
    }
    if (kind === 'close') apart = Array.isArray(value.apart) ? value.apart.map(String) : [];
    return undefined;
  };
  for (const [number, entry] of log.entries.entries()) {
    const what = entry === undefined ? undefined : check(entry, number);
    if (what !== undefined) findings.push({ file: CHAIN_FILE, at: `entry ${number}`, what });
  }
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return {
    ...{ hashes: log.hashes, files, apart, resumed, findings },
    ...{ machine: text(first?.machine), server: text(first?.server) },
    ...{ id: text(first?.id), run: text(first?.run), lab: lab === undefined ? undefined : text(first?.lab) },
  };
}

/** A file that an entry names; it must lie in the run's folder. */
function parseFile(item: unknown, entry: number): SignedFile | undefined {
  if (typeof item !== 'object' || item === null) return undefined;
  const { file, bytes, ...more } = item as Record<string, unknown>;
  const [by, another] = NAMES.filter((name) => name in more);
  if (typeof file !== 'string' || typeof bytes !== 'number' || by === undefined || another !== undefined)
    return undefined;
  const digest = more[by];
  if (typeof digest !== 'string') return undefined;
  if (file.startsWith('/') || file.split('/').some((part) => part === '' || part === '.' || part === '..'))
    return undefined;
  return { file, bytes, digest, by, entry };
}
