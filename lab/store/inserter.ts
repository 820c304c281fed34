// SPDX-License-Identifier: MIT
/**
 * Loads the segments of a folder into a database: each one in one transaction with its row in `segments`, so that it
 * is there with all its rows or not at all, however the inserter ends. Segments are never changed.
 *
 * Near the end of a segment are records that wait for others that are earlier (`ordered.ts`). They come with a later
 * segment; which ones, the row in `traces` says.
 */
import { isOlderVersion, peekSegment, readSegment, SegmentAccess, type StoredSubbuf } from '../trace/segment-reader.js';
import { parseSubbuf } from '../trace/subbuf.js';
import { surveySubbuf } from '../trace/walk.js';
import { LabError } from '../util/errors.js';
import { type Base, Loader } from './loader.js';
import { signed } from './numbers.js';
import { type HeldPlace, TimeMerge } from './ordered.js';
import { Stretch } from './spot.js';
import { Batch, type Store } from './store.js';

/** Records that are looked at together: their rows are one batch of each table. */
const STRETCH_RECORDS = 16_384;
/** A signed number holds no later time; the last sub-buffer's records may come 4 s after it. */
const TIME_LIMIT = 2n ** 63n - 2n ** 33n;

export interface TraceSource {
  /** Its name in the database. */
  readonly name: string;
  /** Folder of its segments. */
  readonly folder: string;
  /** Whether something may still be added to it. */
  readonly isGrowing: () => Promise<boolean>;
  readonly base?: Base | undefined;
}

export interface Loaded {
  readonly records: number;
  readonly bytes: number;
}

/** What of a trace is in the database, and what goes on from there. */
interface Progress {
  readonly trace: number;
  readonly bootId: string | null;
  readonly merge: TimeMerge;
  readonly loader: Loader;
  readonly stretch: Stretch;
}

/** `traces.held`. */
interface Held {
  readonly newest: string | null;
  readonly places: readonly HeldPlace[];
}

interface Problem {
  readonly segment: number;
  readonly offset: number;
  readonly kind: string;
  readonly detail: string;
}

/** Loads one trace. The store is the caller's. */
export class Inserter {
  readonly #store: Store;
  readonly #source: TraceSource;
  #progress: Progress | undefined;

  constructor(store: Store, source: TraceSource) {
    this.#store = store;
    this.#source = source;
  }

  /**
   * Somebody else writes to the store now: what is remembered will not be what is there, for rows are numbered over all
   * traces. It is read again when this one goes on.
   */
  forget(): void {
    this.#progress = undefined;
  }

  /** Numbers of the segments that are in the database, and whether they were sealed then. */
  async loaded(): Promise<ReadonlyMap<number, boolean>> {
    const rows = await this.#store.select(
      'SELECT s.number, s.is_sealed FROM segments s JOIN traces t ON t.id = s.trace WHERE t.name = {text 1}',
      [this.#source.name],
    );
    return new Map(rows.map(({ number, is_sealed }) => [Number(number), is_sealed === '1']));
  }

  /**
   * Loads one segment; those before it that exist must be loaded.
   * @param isLast it may lack its seal, and nothing will be added to it
   * @returns undefined if another inserter has loaded it by now
   */
  async load(number: number, isLast: boolean, signal: AbortSignal): Promise<Loaded | undefined> {
    const { folder } = this.#source;
    // Else it would be taken for loaded, with nothing in it.
    if (await isOlderVersion(folder, number))
      throw new LabError('LAB_RUN_STATE', `segment ${number} in ${folder} was written in an earlier format`, {
        next: 'load it with the version that wrote it, into a database of that version',
      });
    return this.#transaction(async () => {
      if ((await this.loaded()).has(number)) return undefined;
      if (this.#store.timeBase === 0n)
        this.#store.timeBase = (await peekSegment(this.#source.folder, number))?.header.createdRealNs ?? 0n;
      const problems: Problem[] = [];
      const sum = { records: 0, subbufs: 0, bytes: 0 };
      let isSealed = true;
      let [firstNs, lastNs]: (bigint | undefined)[] = [];
      for await (const item of readSegment(this.#source.folder, number, isLast)) {
        signal.throwIfAborted();
        if (item.type === 'problem') {
          if (item.kind === 'unsealed' || item.kind === 'torn') isSealed = false;
          problems.push(item);
          continue;
        }
        const progress = await this.#at(item);
        const detail = refusal(item, progress.bootId);
        if (detail !== undefined) {
          problems.push({ segment: number, offset: item.offset, kind: 'malformed', detail });
          continue;
        }
        const { records, length, realNs } = item.header;
        sum.records += records;
        sum.subbufs++;
        sum.bytes += length;
        if (firstNs === undefined || realNs < firstNs) firstNs = realNs;
        if (lastNs === undefined || realNs > lastNs) lastNs = realNs;
        progress.merge.add(item);
        await this.#drain(progress, false);
      }
      const progress = await this.#at(undefined);
      const { timeBase } = this.#store;
      const row = new Batch('segments');
      row.values.push(await this.#nextId('segments'), progress.trace, number, isSealed ? 1 : 0);
      row.values.push(sum.bytes, sum.subbufs, sum.records);
      for (const ns of [firstNs, lastNs]) row.values.push(ns === undefined ? null : ns - timeBase);
      await this.#store.insert(row);
      problems.push(...(await this.#missingBefore(progress.trace, number)));
      await this.#save(progress, problems);
      return sum;
    });
  }

  /** Nothing more comes: loads what waits. */
  async end(): Promise<void> {
    if (!(await this.#isWaited())) return;
    await this.#transaction(async () => {
      const progress = await this.#at(undefined);
      await this.#drain(progress, true);
      await this.#save(progress, []);
    });
  }

  /** Whether something waits, or nothing of the trace is there at all: most boots of a fleet ended long ago. */
  async #isWaited(): Promise<boolean> {
    const [row] = await this.#store.select('SELECT held FROM traces WHERE name = {text 1}', [this.#source.name]);
    return row === undefined || !row.held || (JSON.parse(row.held) as Held).places.length > 0;
  }

  async #transaction<T>(work: () => Promise<T>): Promise<T> {
    if (await this.#store.begin()) this.forget();
    try {
      const result = await work();
      await this.#store.commit();
      return result;
    } catch (error) {
      // What is remembered is ahead of the database now.
      this.forget();
      // After some errors there is no transaction left, or no connection: the first one says why.
      await this.#store.rollback().catch(() => {});
      throw error;
    }
  }

  async #drain(progress: Progress, isEnd: boolean): Promise<void> {
    const { merge, stretch } = progress;
    for (let cursor = merge.next(isEnd); cursor !== undefined; cursor = merge.next(isEnd)) {
      stretch.push(cursor);
      merge.advance(cursor);
      if (stretch.isFull) await this.#loadStretch(progress);
    }
  }

  async #loadStretch({ loader, stretch }: Progress): Promise<void> {
    await loader.load(stretch);
    stretch.clear();
  }

  async #save(progress: Progress, problems: readonly Problem[]): Promise<void> {
    await this.#loadStretch(progress);
    const { merge, loader, trace } = progress;
    const rows = new Batch('problems');
    let id = await this.#nextId('problems');
    for (const { segment, offset, kind, detail } of [...problems, ...loader.takeDoubled()])
      rows.values.push(id++, trace, segment, offset, kind, detail);
    await this.#store.insert(rows);
    await loader.checkpoint(merge.bases.monoNs);
    const { newest } = merge;
    const held: Held = { newest: newest === undefined ? null : String(newest), places: merge.held() };
    const row = new Batch('traces', ['id', 'held']);
    row.values.push(trace, JSON.stringify(held));
    await this.#store.update(row);
  }

  /** Where the database is; a new trace begins with its first sub-buffer. */
  async #at(first: StoredSubbuf | undefined): Promise<Progress> {
    if (this.#progress !== undefined) return this.#progress;
    const store = this.#store;
    const { name, folder, base } = this.#source;
    const select = () =>
      store.select('SELECT id, boot_id, CAST(mono_base AS text) AS mono_base, held FROM traces WHERE name = {text 1}', [
        name,
      ]);
    let [row] = await select();
    if (row === undefined) {
      const fresh = new Batch('traces');
      const bootId = first === undefined ? null : bootText(first);
      fresh.values.push(await this.#nextId('traces'), name, bootId, signed(first?.header.monoNs ?? 0n), null, '');
      await store.insert(fresh);
      [row] = await select();
    }
    const trace = Number(row?.id);
    const monoNs = BigInt(row?.mono_base ?? 0);
    const merge = new TimeMerge({ monoNs, realNs: store.timeBase });
    if (row?.held) await restoreHeld(merge, JSON.parse(row.held) as Held, folder);
    const loader = await Loader.open(store, trace, monoNs, base);
    this.#progress = { trace, bootId: row?.boot_id ?? null, merge, loader, stretch: new Stretch(STRETCH_RECORDS) };
    return this.#progress;
  }

  /** Segments between the one before and this one, which are not there. */
  async #missingBefore(trace: number, number: number): Promise<Problem[]> {
    const [row] = await this.#store.select(
      'SELECT COALESCE(max(number), -1) AS before FROM segments WHERE trace = {int 1} AND number < {int 2}',
      [trace, number],
    );
    const missing = number - 1 - Number(row?.before);
    if (missing === 0) return [];
    return [
      { segment: number, offset: 0, kind: 'missing', detail: `${missing} segments before this one are not there` },
    ];
  }

  async #nextId(table: 'segments' | 'problems' | 'traces'): Promise<number> {
    const [row] = await this.#store.select(`SELECT COALESCE(max(id), 0) + 1 AS next FROM ${table}`);
    return Number(row?.next);
  }
}

function bootText(item: StoredSubbuf): string {
  return item.header.bootId.toString(16).padStart(16, '0');
}

/** Why a sub-buffer is not loaded; undefined: it is. */
function refusal(item: StoredSubbuf, bootId: string | null): string | undefined {
  const { header } = item;
  const broken = surveySubbuf(item.bytes, header).problem;
  if (broken !== undefined) return broken;
  if (header.realNs > TIME_LIMIT) return `its wall clock says ${header.realNs}: there is no such time`;
  if (bootId !== null && bootText(item) !== bootId)
    return `it is of boot ${bootText(item)}, this trace is of ${bootId}`;
  return undefined;
}

async function restoreHeld(merge: TimeMerge, held: Held, folder: string): Promise<void> {
  const access = new SegmentAccess(folder);
  try {
    for (const { segment, offset, length, from } of held.places) {
      const bytes = await access.read({ segment, offset, length });
      const check = parseSubbuf(bytes);
      if (!check.ok) {
        throw new LabError('LAB_SEGMENT_CORRUPT', `segment ${segment} at ${offset}: ${check.problem.detail}`, {
          next: 'it was good when it was loaded: somebody has changed it since',
        });
      }
      merge.add({ type: 'subbuf', segment, offset, header: check.header, bytes }, from);
    }
  } finally {
    await access.close();
  }
  if (held.newest !== null) merge.newest = BigInt(held.newest);
}
