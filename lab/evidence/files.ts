// SPDX-License-Identifier: MIT
/** The files of a run that are evidence. */
import { lstat, readdir } from 'node:fs/promises';
import path from 'node:path';
import { ioError, systemCodeOf } from '../util/errors.js';

export interface FileEntry {
  /** From the run's folder, with `/`. */
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
}

/**
 * Where sealed segments lie: the record; what came by the socket as well as by the relay; and whole sub-buffers of a
 * crashed guest's memory of which the record has a part.
 */
export const SEGMENT_FOLDERS = ['segments', 'segments-socket', 'segments-whole'] as const;
export type SegmentFolder = (typeof SEGMENT_FOLDERS)[number];

export const CHAIN_FILE = 'chain.jsonl';
export const CUSTODY_FILE = 'custody.jsonl';
export const CUSTODY_LOCK = 'custody.lock';
/** What time-stamping authorities answered, each signed by itself. */
export const STAMPS_DIR = 'timestamps';
/** Held while a chain grows, so that nobody takes a run that is being recorded for one whose writer was killed. */
export const CHAIN_LOCK = 'chain.lock';

/** A dead guest's memory, with its key, while the record in it is looked for; a recorder that is killed leaves it. */
export const MEMORY_FILE = 'memory.elf';

/**
 * What is made from the evidence and can be made again, what guards or signs it, and what is said of it later
 * (`base.json`: which disk a received boot began with): no file for the chain to name. Nor the memory of a guest.
 * Signed with the chain's end, so that an auditor needs no list of their own. `*` at an end stands for anything.
 */
export const APART = [
  ...[CHAIN_FILE, CHAIN_LOCK, CUSTODY_FILE, CUSTODY_LOCK],
  ...['keyframes/*', 'index.*', 'base.json', `${STAMPS_DIR}/*`, MEMORY_FILE],
] as const;

function isApart(file: string): boolean {
  return APART.some((name) => (name.endsWith('*') ? file.startsWith(name.slice(0, -1)) : file === name));
}

/** Time stamps of a run, from its folder. */
export async function stampFiles(dir: string): Promise<string[]> {
  const names = await readdir(path.join(dir, STAMPS_DIR)).catch((error: unknown) => {
    if (systemCodeOf(error) !== 'ENOENT') throw ioError(`listing the time stamps of ${dir}`, error);
    return [];
  });
  return names.map((name) => `${STAMPS_DIR}/${name}`);
}

/** Regular files below a folder, ascending by name, without those that stand apart. */
export async function evidenceFiles(dir: string): Promise<string[]> {
  const found: string[] = [];
  const walk = async (folder: string): Promise<void> => {
    for (const entry of await readdir(path.join(dir, folder), { withFileTypes: true })) {
      const file = path.posix.join(folder, entry.name);
      if (isApart(entry.isDirectory() ? `${file}/` : file)) continue;
      if (entry.isDirectory()) await walk(file);
      else if (entry.isFile()) found.push(file);
    }
  };
  try {
    await walk('');
  } catch (error) {
    throw ioError(`listing the files of ${dir}`, error);
  }
  return found.sort();
}

/** Size and digest of a file of a run. */
export async function fileEntry(
  dir: string,
  file: string,
  digest: (path: string) => Promise<string>,
): Promise<FileEntry> {
  const full = path.join(dir, file);
  try {
    const { size } = await lstat(full);
    return { file, bytes: size, sha256: await digest(full) };
  } catch (error) {
    throw ioError(`hashing ${full}`, error);
  }
}
