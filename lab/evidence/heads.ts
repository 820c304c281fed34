// SPDX-License-Identifier: MIT
/**
 * The witness outside of a run: `heads.jsonl` in the data folder gets a line for every entry of a run's signed logs, so
 * that whoever cuts a log's end, or signs a run anew, contradicts it. Copies of it on other machines are worth more.
 */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { ioError, LabError, systemCodeOf } from '../util/errors.js';
import { CHAIN_FILE } from './files.js';
import { type LogEnd, readLog } from './signed-log.js';

/** What a chain is of, as its first entry says. */
export interface Origin {
  /** Name of the run, or of the boot. */
  readonly run: string;
  /** Of a boot that a server received: the machine, and the server's identity. */
  readonly machine?: string;
  readonly server?: string;
}

export interface WitnessedRun extends Origin {
  readonly log: 'chain' | 'custody';
  /** Identity of the chain, from its first entry. */
  readonly id: string;
  /** Where the run lies. */
  readonly folder: string;
}

/** Identity and origin in the first entry of a chain. */
export function originOf(first: Readonly<Record<string, unknown>> | undefined): Origin & { readonly id: string } {
  const { id, run, machine, server } = first ?? {};
  return {
    ...{ id: String(id), run: String(run) },
    ...(typeof machine === 'string' ? { machine } : {}),
    ...(typeof server === 'string' ? { server } : {}),
  };
}

const LF = 0x0a;

const headsFile = (dataDir: string) => path.join(dataDir, 'heads.jsonl');

/**
 * One short line in one write: appends of several programs do not mix. Half a line, left by a loss of power, is ended
 * first, or it would swallow this one; whoever reads heads passes over it.
 */
export async function witnessHead(dataDir: string, run: WitnessedRun, end: LogEnd, time: string): Promise<void> {
  const file = headsFile(dataDir);
  const { log, folder, ...origin } = run;
  const line = JSON.stringify({ time, log, ...origin, entries: end.entries, head: end.head, folder });
  let handle: FileHandle | undefined;
  try {
    handle = await open(file, 'a+');
    const bytes = Buffer.from(`${(await endsInLine(handle)) ? '' : '\n'}${line}\n`);
    const { bytesWritten } = await handle.write(bytes);
    if (bytesWritten < bytes.length) throw new Error(`${bytesWritten} of ${bytes.length} bytes could be written`);
    await handle.sync();
  } catch (error) {
    throw ioError(`witnessing in ${file}`, error);
  } finally {
    await handle?.close();
  }
}

async function endsInLine(handle: FileHandle): Promise<boolean> {
  const { size } = await handle.stat();
  if (size === 0) return true;
  const last = Buffer.alloc(1);
  await handle.read(last, 0, 1, size - 1);
  return last[0] === LF;
}

/** Other folders that this lab wrote the chain `id` in, and that still hold it: of these the one in `dir` is a copy. */
export async function otherFolders(dataDir: string, id: string, dir: string): Promise<string[]> {
  const others: string[] = [];
  const here = await chainFileIn(dir);
  for (const folder of await foldersOf(headsFile(dataDir), id)) {
    const there = await chainFileIn(folder);
    // Perhaps another name of the same folder; or another run has taken the place of this one.
    if (there === undefined || there === here) continue;
    if (await holdsChain(folder, id)) others.push(folder);
  }
  return others;
}

async function holdsChain(folder: string, id: string): Promise<boolean> {
  try {
    const { entries } = await readLog(path.join(folder, CHAIN_FILE));
    return entries[0]?.id === id;
  } catch (error) {
    // Something else took the name of the file.
    if (error instanceof LabError && error.code === 'LAB_RUN_CORRUPT') return false;
    throw error;
  }
}

async function foldersOf(heads: string, id: string): Promise<Set<string>> {
  const folders = new Set<string>();
  try {
    const input = createReadStream(heads);
    for await (const line of createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY })) {
      if (!line.includes(id)) continue;
      const head = parseLine(line);
      if (head?.log === 'chain' && head.id === id && typeof head.folder === 'string') folders.add(head.folder);
    }
  } catch (error) {
    if (systemCodeOf(error) !== 'ENOENT') throw ioError(`reading ${heads}`, error);
  }
  return folders;
}

function parseLine(line: string): Record<string, unknown> | undefined {
  try {
    return JSON.parse(line) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}

/** Which file the chain in a folder is, by whatever name; undefined: there is none. */
async function chainFileIn(dir: string): Promise<string | undefined> {
  const file = path.join(dir, CHAIN_FILE);
  try {
    const { dev, ino } = await stat(file, { bigint: true });
    return `${dev}:${ino}`;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return undefined;
    throw ioError(`looking for ${file}`, error);
  }
}
