// SPDX-License-Identifier: MIT
/**
 * The chain of a run, `chain.jsonl` (format: `docs/evidence.md`):
 *
 *   open     by the lab: the run's identity and the public key that was made for it
 *   segment  by the run's key: a segment was sealed
 *   resume   by the lab: the writer was killed; what it left unsigned, and a new key
 *   close    by the run's key: all other files; nothing follows
 *
 * The private half of the run's key lives in this process alone, and only until the chain is closed: who takes over the
 * machine afterwards finds nothing to sign an older run with, except the lab's key, and then the witness contradicts.
 */
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { ioError, LabError } from '../util/errors.js';
import { ownerOf, tryLock } from '../util/lock.js';
import { beginCustody } from './custody.js';
import {
  APART,
  CHAIN_FILE,
  CHAIN_LOCK,
  CUSTODY_FILE,
  evidenceFiles,
  type FileEntry,
  fileEntry,
  SEGMENT_FOLDERS,
  type SegmentFolder,
} from './files.js';
import { type Origin, originOf, otherFolders, witnessHead } from './heads.js';
import { labKey, newKey, type SigningKey } from './keys.js';
import { appendEntry, emptyLog, hasEntry, type LogEnd, type LogFields, lastEntry, readLog } from './signed-log.js';

/** Of a chain. 1 named segments by SHA-256. */
const FORMAT = 2;

export interface ChainOptions {
  /** Folder of the run, or of what a server holds of one boot: the chain lies in it, `segments/` below it. */
  readonly dir: string;
  readonly dataDir: string;
  /** SHA-256 of a file, in hex. */
  readonly digest: (file: string) => Promise<string>;
}

/** Chains that this process writes: a lock with our own number on it may be of a process that had it before us. */
const taken = new Set<string>();

export class EvidenceChain {
  readonly #options: ChainOptions;
  readonly #file: string;
  readonly #origin: Origin & { readonly id: string };
  #key: SigningKey | undefined;
  #end: LogEnd;
  /** Named by an entry already. */
  readonly #signed: Set<string>;
  /** Two writers of segments may end one at the same time: entries follow one another. */
  #appending: Promise<void> = Promise.resolve();

  private constructor(
    options: ChainOptions,
    origin: Origin & { readonly id: string },
    key: SigningKey,
    end: LogEnd,
    signed: Iterable<string>,
  ) {
    this.#options = options;
    this.#file = path.join(options.dir, CHAIN_FILE);
    this.#origin = origin;
    this.#key = key;
    this.#end = end;
    this.#signed = new Set(signed);
  }

  /** Begins the chain of a new run, and its custody log. */
  static async open(options: ChainOptions, origin: Origin): Promise<EvidenceChain> {
    return locked(options.dir, () => EvidenceChain.#open(options, origin));
  }

  /**
   * Begins a chain, or goes on with the one that is there.
   *
   * @param open name in `segments/` of the one that the next writer goes on with: it is signed when it is sealed
   * @returns undefined if it is closed
   */
  static async goOn(options: ChainOptions, origin: Origin, open?: string): Promise<EvidenceChain | undefined> {
    return locked(options.dir, async () => {
      const file = path.join(options.dir, CHAIN_FILE);
      if (!(await hasEntry(file))) return EvidenceChain.#open(options, origin);
      const { entries } = await readLog(file);
      return entries.at(-1)?.kind === 'close' ? undefined : EvidenceChain.#resume(options, open);
    });
  }

  static async #open(options: ChainOptions, { run, machine, server }: Origin): Promise<EvidenceChain> {
    const lab = await labKey(options.dataDir);
    const key = newKey();
    const id = randomBytes(16).toString('hex');
    const from = originOf({ id, run, machine, server });
    const chain = new EvidenceChain(options, from, key, emptyLog(), []);
    await chain.#append({ kind: 'open', format: FORMAT, ...from, lab: lab.spki, key: key.spki }, lab);
    await beginCustody(options.dir, options.dataDir, { ...from, head: chain.#end.head }, lab);
    return chain;
  }

  /**
   * Goes on with a chain whose writer was killed: the lab itself signs what was left, and a new key. Not with that of a
   * copy, while the folder is there that the lab wrote it in: one identity would have two histories.
   */
  static async resume(options: ChainOptions): Promise<EvidenceChain> {
    return locked(options.dir, async () => {
      await demandOneFolder(options);
      return EvidenceChain.#resume(options, undefined);
    });
  }

  static async #resume(options: ChainOptions, open: string | undefined): Promise<EvidenceChain> {
    const file = path.join(options.dir, CHAIN_FILE);
    const { entries, first: head, end } = await readLog(file);
    const lab = await labKey(options.dataDir);
    const first = entries[0];
    if (first !== undefined && first.format !== FORMAT) {
      throw new LabError('LAB_RUN_STATE', `${file} is of format ${String(first.format)}, wanted ${FORMAT}`, {
        next: 'go on with it in the version that began it',
      });
    }
    if (first === undefined || first.lab !== lab.spki) {
      throw new LabError('LAB_RUN_STATE', `${file} was begun by another lab: only that one can go on with it`);
    }
    if (entries.at(-1)?.kind === 'close') throw new LabError('LAB_RUN_STATE', `${file} is closed: nothing can follow`);
    const signed = entries.flatMap(filesOf);
    const key = newKey();
    const chain = new EvidenceChain(options, originOf(first), key, end, signed);
    const found = await chain.#unsignedSegments(open);
    await chain.#append({ kind: 'resume', key: key.spki, found }, lab);
    // Its writer was killed between the two logs.
    if (!(await hasEntry(path.join(options.dir, CUSTODY_FILE))))
      await beginCustody(options.dir, options.dataDir, { ...chain.#origin, head }, lab);
    return chain;
  }

  /** Signs a sealed segment; `name` is that in its folder. */
  async segment(
    segment: { readonly name: string; readonly bytes: number; readonly sha256x16: string },
    folder: SegmentFolder = 'segments',
  ): Promise<void> {
    const { name, bytes, sha256x16 } = segment;
    await this.#append({ kind: 'segment', file: `${folder}/${name}`, bytes, sha256x16 });
  }

  /** Signs segments that were sealed and could not be signed, for want of space; `open` as in `goOn`. */
  async catchUp(open?: string): Promise<void> {
    for (const entry of await this.#unsignedSegments(open)) await this.#append({ kind: 'segment', ...entry });
  }

  #unsignedSegments(open: string | undefined): Promise<FileEntry[]> {
    const isSegment = (name: string) => SEGMENT_FOLDERS.some((folder) => name.startsWith(`${folder}/`));
    return this.#unsigned((name) => isSegment(name) && name !== `segments/${open}`);
  }

  /** Signs all other files of the run, and forgets the key. The files must not change any more. */
  async close(): Promise<void> {
    if (this.#key === undefined) return;
    await this.#append({ kind: 'close', files: await this.#unsigned(() => true), apart: APART });
    this.#key = undefined;
    await this.leave();
  }

  /** Lets another process go on with a chain that stays open. */
  async leave(): Promise<void> {
    await unlock(this.#options.dir);
  }

  async #unsigned(isWanted: (name: string) => boolean): Promise<FileEntry[]> {
    const { dir, digest } = this.#options;
    const found: FileEntry[] = [];
    for (const name of await evidenceFiles(dir)) {
      if (isWanted(name) && !this.#signed.has(name)) found.push(await fileEntry(dir, name, digest));
    }
    return found;
  }

  #append(fields: LogFields, by = this.#key): Promise<void> {
    const appended = this.#appending.then(() => this.#appendNow(fields, by));
    this.#appending = appended.catch(() => {});
    return appended;
  }

  async #appendNow(fields: LogFields, by: SigningKey | undefined): Promise<void> {
    if (by === undefined) throw new LabError('LAB_BUG', `${this.#file}: an entry after its close`);
    const time = new Date().toISOString();
    this.#end = await appendEntry(this.#file, this.#end, fields, time, by.privateKey);
    // Whatever comes of the witness: it stands there.
    for (const file of filesOf(fields)) this.#signed.add(file);
    const { dir, dataDir } = this.#options;
    await witnessHead(dataDir, { log: 'chain', ...this.#origin, folder: path.resolve(dir) }, this.#end, time);
  }
}

/** Names in `segments/` of those that the chain in a folder names, if there is one. */
export async function signedSegments(dir: string): Promise<Set<string>> {
  const file = path.join(dir, CHAIN_FILE);
  if (!(await hasEntry(file))) return new Set();
  const { entries } = await readLog(file);
  return new Set(
    entries.flatMap(filesOf).flatMap((name) => (path.dirname(name) === 'segments' ? [path.basename(name)] : [])),
  );
}

/** Whether the chain in a folder has its last entry: no file of it changes any more. */
export async function isChainClosed(dir: string): Promise<boolean> {
  const file = path.join(dir, CHAIN_FILE);
  return (await lastEntry(file))?.kind === 'close';
}

/** Whether a process that lives writes the chain in a folder. */
export async function isChainHeld(dir: string): Promise<boolean> {
  return ((await ownerOf(path.join(dir, CHAIN_LOCK))) ?? 0) > 0;
}

/** Takes the lock for good, unless the work that needs it first fails. */
async function locked<T>(dir: string, work: () => Promise<T>): Promise<T> {
  await takeChain(dir);
  try {
    const result = await work();
    if (result === undefined) await unlock(dir);
    return result;
  } catch (error) {
    await unlock(dir);
    throw error;
  }
}

async function demandOneFolder({ dir, dataDir }: ChainOptions): Promise<void> {
  const { entries } = await readLog(path.join(dir, CHAIN_FILE));
  const { id } = originOf(entries[0]);
  const [other] = await otherFolders(dataDir, id, dir);
  if (other === undefined) return;
  const here = path.resolve(dir);
  throw new LabError('LAB_RUN_STATE', `${here} is a copy: this lab wrote the chain of run ${id} in ${other}`, {
    next: `take the run in ${other}; or, if ${here} is to take its place, move or remove that folder first`,
  });
}

async function unlock(dir: string): Promise<void> {
  taken.delete(path.resolve(dir));
  await rm(path.join(dir, CHAIN_LOCK), { force: true });
}

async function takeChain(dir: string): Promise<void> {
  const file = path.join(dir, CHAIN_LOCK);
  const lock = () =>
    tryLock(file).catch((error: unknown) => {
      throw ioError(`locking ${file}`, error);
    });
  let owner = await lock();
  if (owner === process.pid && !taken.has(path.resolve(dir))) {
    await rm(file, { force: true });
    owner = await lock();
  }
  if (owner === 'taken') {
    taken.add(path.resolve(dir));
    return;
  }
  throw new LabError('LAB_RUN_STATE', `process ${owner} is writing the chain in ${dir}`, {
    next: `wait for its end; if no recorder runs, remove ${file}`,
  });
}

/** Files that an entry of ours names. */
function filesOf(entry: Record<string, unknown>): string[] {
  if (entry.kind === 'segment') return [String(entry.file)];
  return entry.kind === 'resume' ? (entry.found as FileEntry[]).map(({ file }) => file) : [];
}
