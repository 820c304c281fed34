// SPDX-License-Identifier: MIT
/** Loads all that lies in segment folders, once or as it comes. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { listSegments, peekSegment, readSegment } from '../trace/segment-reader.js';
import { abortError, ioError, LabError, systemCodeOf, throwIfAborted } from '../util/errors.js';
import { Inserter, type TraceSource } from './inserter.js';
import type { Store } from './store.js';

export interface LoadSum {
  readonly traces: number;
  readonly segments: number;
  readonly records: number;
  readonly bytes: number;
}

/**
 * The traces in a folder: it holds segments itself, or boots that do, or machines that hold boots.
 * @param mayGrow of the folder that holds `segments`
 */
export async function findTraces(
  folder: string,
  name: string,
  mayGrow: (dir: string) => Promise<boolean>,
): Promise<TraceSource[]> {
  const found: TraceSource[] = [];
  const entries = await readFolder(folder);
  if (entries.includes('segments'))
    found.push({ name, folder: path.join(folder, 'segments'), isGrowing: () => mayGrow(folder) });
  for (const kind of ['boots', 'machines']) {
    if (!entries.includes(kind)) continue;
    for (const entry of (await readFolder(path.join(folder, kind))).sort()) {
      const below = kind === 'boots' ? `${name}/${entry}` : entry;
      found.push(...(await findTraces(path.join(folder, kind, entry), below, mayGrow)));
    }
  }
  return found;
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    const code = systemCodeOf(error);
    if (code === 'ENOTDIR') return [];
    if (code === 'ENOENT') {
      throw new LabError('LAB_RUN_UNKNOWN', `${folder} is not there`, {
        cause: error,
        next: 'name a folder that holds segments',
      });
    }
    throw ioError(`reading ${folder}`, error);
  }
}

/** Errors that are of one trace: the others are loaded all the same. */
const OF_ONE_TRACE: ReadonlySet<string> = new Set([
  'LAB_RUN_STATE',
  'LAB_RUN_CORRUPT',
  'LAB_RUN_UNKNOWN',
  'LAB_SEGMENT_CORRUPT',
]);

/** A database that somebody else holds, or that is corrupt, is no trace's fault: the others cannot be loaded either. */
function isOfOneTrace({ code, cause }: LabError): boolean {
  return OF_ONE_TRACE.has(code) && systemCodeOf(cause)?.startsWith('SQLITE_') !== true;
}

export interface LoadOptions {
  readonly onSegment?: (sum: LoadSum) => void;
  /** A trace can't be loaded, and is not tried again; without it that is an error. */
  readonly onLeftOut?: (source: TraceSource, error: LabError) => void;
}

/** Loads traces into a store, pass after pass; what is there already is left alone. */
export class Load {
  readonly #store: Store;
  readonly #signal: AbortSignal;
  readonly #options: LoadOptions;
  /** Of traces that go on. */
  readonly #inserters = new Map<string, Inserter>();
  /** The one that wrote last: it alone remembers anything, so that memory does not grow with the fleet either. */
  #writing: Inserter | undefined;
  /** Names of those that are loaded to their end, and of those left out. */
  readonly #done = new Set<string>();
  readonly #growing = new Set<string>();
  #sum: LoadSum = { traces: 0, segments: 0, records: 0, bytes: 0 };

  constructor(store: Store, signal: AbortSignal, options: LoadOptions = {}) {
    this.#store = store;
    this.#signal = signal;
    this.#options = options;
  }

  get sum(): LoadSum {
    return this.#sum;
  }

  /** Names of the traces of which something may still come, as far as the last pass saw. */
  get growing(): ReadonlySet<string> {
    return this.#growing;
  }

  /**
   * Loads the segments that are sealed and not loaded yet; of a trace that grows no more a last segment without a seal
   * too, and all that waits.
   */
  async pass(sources: readonly TraceSource[]): Promise<void> {
    const { onLeftOut } = this.#options;
    for (const source of sources) {
      if (this.#done.has(source.name)) continue;
      try {
        await this.#one(source);
      } catch (error) {
        if (onLeftOut === undefined || !(error instanceof LabError) || !isOfOneTrace(error)) throw error;
        this.#isDone(source);
        this.#growing.delete(source.name);
        onLeftOut(source, error);
      }
    }
  }

  async #one(source: TraceSource): Promise<void> {
    // Before the segments are listed: what is complete by then is all there.
    const isGrowing = await source.isGrowing();
    if (isGrowing) this.#growing.add(source.name);
    else this.#growing.delete(source.name);
    const inserter = await this.#inserterFor(source);
    const loaded = await inserter.loaded();
    const there = await listSegments(source.folder);
    for (const number of there) {
      throwIfAborted(this.#signal, 'indexing');
      const isLast = number === there.at(-1);
      const isSealed = async () => (await peekSegment(source.folder, number))?.isSealed === true;
      if (loaded.has(number)) {
        if (loaded.get(number) === false && (await isSealed())) throw this.#outgrown(source, number);
        continue;
      }
      if (isLast && isGrowing && !(await isSealed())) continue;
      this.#turnTo(inserter);
      const loadedNow = await inserter.load(number, isLast, this.#signal);
      if (loadedNow === undefined) continue;
      const { records, bytes } = loadedNow;
      const { traces, segments, ...sums } = this.#sum;
      this.#sum = { traces, segments: segments + 1, records: sums.records + records, bytes: sums.bytes + bytes };
      this.#options.onSegment?.(this.#sum);
    }
    if (isGrowing) return;
    this.#turnTo(inserter);
    await inserter.end();
    this.#isDone(source);
  }

  #turnTo(inserter: Inserter): void {
    if (this.#writing !== inserter) this.#writing?.forget();
    this.#writing = inserter;
  }

  #isDone({ name }: TraceSource): void {
    this.#done.add(name);
    this.#inserters.delete(name);
  }

  #outgrown({ name }: TraceSource, number: number): LabError {
    return new LabError(
      'LAB_RUN_STATE',
      `${this.#store.label}: segment ${number} of '${name}' was loaded before its end, and has grown since`,
      { next: 'choose another database with --db, or delete that one and make it again' },
    );
  }

  async #inserterFor(source: TraceSource): Promise<Inserter> {
    let inserter = this.#inserters.get(source.name);
    if (inserter === undefined) {
      inserter = new Inserter(this.#store, source);
      await checkBoot(this.#store, source);
      this.#inserters.set(source.name, inserter);
      this.#sum = { ...this.#sum, traces: this.#sum.traces + 1 };
    }
    return inserter;
  }
}

/** The traces as they are now, and whether others may come. */
export type Sources = () => Promise<{ readonly traces: readonly TraceSource[]; readonly mayCome: boolean }>;

/** How often a folder is looked at that something may be added to. */
const POLL_MS = 500;

/** Loads what is there, and, if it is followed, what comes, until nothing may come any more. */
export async function loadAll(
  load: Load,
  store: Store,
  sources: Sources,
  isFollowed: boolean,
  signal: AbortSignal,
): Promise<void> {
  for (let isFirst = true; ; isFirst = false) {
    const { traces, mayCome } = await sources();
    await load.pass(traces);
    if (isFirst) await store.finish();
    if (!isFollowed || (!mayCome && load.growing.size === 0)) return;
    await setTimeout(POLL_MS, undefined, { signal }).catch((error: unknown) => {
      throw abortError('indexing', error);
    });
  }
}

/** A name stands for one boot: rows of another one must not be taken for it. */
async function checkBoot(store: Store, { name, folder }: TraceSource): Promise<void> {
  const [row] = await store.select('SELECT boot_id FROM traces WHERE name = {text 1}', [name]);
  const [number] = await listSegments(folder);
  if (row?.boot_id == null || number === undefined) return;
  for await (const item of readSegment(folder, number, true)) {
    if (item.type !== 'subbuf') continue;
    const seen = item.header.bootId.toString(16).padStart(16, '0');
    if (seen === row.boot_id) return;
    throw new LabError(
      'LAB_RUN_STATE',
      `${store.label}: '${name}' is boot ${row.boot_id} there, and boot ${seen} in ${folder}`,
      { next: 'choose another database with --db, or delete that one and make it again' },
    );
  }
}
