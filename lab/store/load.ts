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

/** The traces in a folder: it holds segments itself, or boots that do, or machines that hold boots. */
export async function findTraces(folder: string, name: string): Promise<TraceSource[]> {
  const found: TraceSource[] = [];
  const entries = await readFolder(folder);
  if (entries.includes('segments')) found.push({ name, folder: path.join(folder, 'segments') });
  for (const kind of ['boots', 'machines']) {
    if (!entries.includes(kind)) continue;
    for (const entry of (await readFolder(path.join(folder, kind))).sort())
      found.push(...(await findTraces(path.join(folder, kind, entry), kind === 'boots' ? `${name}/${entry}` : entry)));
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

/** Loads traces into a store, pass after pass; what is there already is left alone. */
export class Load {
  readonly #store: Store;
  readonly #signal: AbortSignal;
  readonly #onSegment: (sum: LoadSum) => void;
  readonly #inserters = new Map<string, Inserter>();
  #sum: LoadSum = { traces: 0, segments: 0, records: 0, bytes: 0 };

  constructor(store: Store, signal: AbortSignal, onSegment: (sum: LoadSum) => void = () => {}) {
    this.#store = store;
    this.#signal = signal;
    this.#onSegment = onSegment;
  }

  get sum(): LoadSum {
    return this.#sum;
  }

  /**
   * Loads the segments that are sealed and not loaded yet.
   * @param isEnd nothing will be added any more: a last segment without a seal and all that waits are loaded too
   */
  async pass(sources: readonly TraceSource[], isEnd: boolean): Promise<void> {
    for (const source of sources) {
      const inserter = await this.#inserterFor(source);
      const loaded = await inserter.loaded();
      const there = await listSegments(source.folder);
      for (const number of there) {
        throwIfAborted(this.#signal, 'indexing');
        if (loaded.has(number)) continue;
        const isLast = number === there.at(-1);
        if (isLast && !isEnd && (await peekSegment(source.folder, number))?.isSealed !== true) continue;
        const { records, bytes } = await inserter.load(number, isLast, this.#signal);
        const { traces, segments, ...sums } = this.#sum;
        this.#sum = { traces, segments: segments + 1, records: sums.records + records, bytes: sums.bytes + bytes };
        this.#onSegment(this.#sum);
      }
      if (isEnd) await inserter.end();
    }
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

/** The traces as they are now, and whether something may still be added to them. */
export type Sources = () => Promise<{ readonly traces: readonly TraceSource[]; readonly isGrowing: boolean }>;

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
    const { traces, isGrowing } = await sources();
    await load.pass(traces, !isGrowing);
    if (isFirst) await store.finish();
    if (!isFollowed || !isGrowing) return;
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
