// SPDX-License-Identifier: MIT
/**
 * What a server has of one boot: segments on disk, and how far each stream is in them. A sub-buffer is taken once,
 * whatever connection brings it; it counts as done when it is synced, not before.
 *
 * Syncs are shared: while one is under way, appends go on, and the next one covers them all. So a fast sender has many
 * sub-buffers for each sync, and a slow one does not wait. How many syncs there are at once, in all stores, is limited.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { segmentName } from '../trace/segment-format.js';
import { type DamagedSegment, recoverSegments } from '../trace/segment-recovery.js';
import {
  type OutsideDigest,
  type SegmentRoom,
  type SegmentTotals,
  SegmentWriter,
  type SegmentWriterOptions,
  syncFolder,
} from '../trace/segment-writer.js';
import type { SubbufHeader } from '../trace/subbuf.js';
import { LabError } from '../util/errors.js';
import type { Appended, Stored } from './intake.js';
import type { Streams } from './wire.js';

/** Between two syncs of a store: more would be acknowledged no sooner than the next one is sent. */
const SYNC_PAUSE_MS = 10;

/** Lets so many work at a time; the others wait in line. */
export class Gate {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  constructor(places: number) {
    this.#free = places;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}

export interface BootStoreOptions extends Omit<SegmentWriterOptions, 'isSynced'> {
  readonly syncGate: Gate;
  /** Names of segments in the folder that are signed; none unless told. */
  readonly signed?: ReadonlySet<string>;
}

/** Records of a stream that the machine had recorded up to the end of what is here, and those that it had dropped. */
type Counts = Pick<Appended, 'recorded' | 'dropped'>;

const countsOf = ({ issued, dropped }: SubbufHeader): Counts => ({ recorded: issued - dropped, dropped });

/** What was in the folder. */
interface Found {
  readonly reached: Map<number, bigint>;
  readonly counts: Map<number, Counts>;
  readonly before: SegmentTotals;
  readonly tornBytes: number;
  readonly damaged: readonly DamagedSegment[];
  readonly openSegment: string | undefined;
}

/** One caller appends; `append`, `room` and `close` must not overlap. */
export class BootStore {
  readonly #writer: SegmentWriter;
  readonly #gate: Gate;
  readonly #reached: Map<number, bigint>;
  readonly #counts: Map<number, Counts>;
  #synced: Map<number, bigint>;
  #isDirty = false;
  #syncing: Promise<void> | undefined;
  #failure: unknown;
  /** What was there when it was opened. */
  readonly #before: SegmentTotals;
  /** Bytes that were cut off when it was opened: of a sub-buffer that never became whole. */
  readonly tornBytes: number;
  /** Of the last two segments, those that are not what was sealed, and were left as they are. */
  readonly damaged: readonly DamagedSegment[];
  /** Name of the segment that was there unsealed, and that it goes on with. */
  readonly openSegment: string | undefined;
  /** Nothing more is taken, and nothing written. */
  isEnded = false;
  /** Somebody went on with this boot from before what is here, in another way: nothing more is taken of either. */
  forked: string | undefined;
  /** Called after each sync that made something done, and when one failed. */
  onSynced: (() => void) | undefined;

  private constructor(writer: SegmentWriter, gate: Gate, found: Found) {
    const { reached, counts, before, tornBytes, damaged, openSegment } = found;
    this.#writer = writer;
    this.#gate = gate;
    this.#reached = reached;
    this.#counts = counts;
    this.#synced = new Map(reached);
    this.#before = before;
    this.tornBytes = tornBytes;
    this.damaged = damaged;
    this.openSegment = openSegment;
  }

  /** Opens the folder, and goes on behind what is in it; all of that is synced first. */
  static async open(options: BootStoreOptions): Promise<BootStore> {
    const { syncGate, signed, ...rest } = options;
    const writerOptions: SegmentWriterOptions = { ...rest, isSynced: true };
    // Makes the folder.
    await (await SegmentWriter.create(writerOptions)).abandon();
    const reached = new Map<number, bigint>();
    const counts = new Map<number, Counts>();
    let bytes = 0;
    let subbufs = 0;
    const onSubbuf = (header: SubbufHeader) => {
      reached.set(header.cpu, header.number + 1n);
      counts.set(header.cpu, countsOf(header));
      bytes += header.length;
      subbufs++;
    };
    const { tail, tornBytes, damaged } = await recoverSegments(options.folder, onSubbuf, signed);
    const writer = await SegmentWriter.resume(writerOptions, tail);
    // Names of segments may be in the kernel's memory only.
    await syncFolder(options.folder);
    const before = { segments: 0, bytes, subbufs };
    const openSegment = tail.open === undefined ? undefined : segmentName(tail.segments - 1);
    return new BootStore(writer, syncGate, { reached, counts, before, tornBytes, damaged, openSegment });
  }

  /** How far each stream is: what was appended. */
  get reached(): Streams {
    return this.#reached;
  }

  /** How far each stream is on the disk. */
  get synced(): Streams {
    return this.#synced;
  }

  /** All that was appended, by CPU. */
  get stored(): Map<number, Stored> {
    return new Map(
      [...this.#reached].map(([cpu, next]) => [cpu, { next, recorded: this.#counts.get(cpu)?.recorded ?? 0n }]),
    );
  }

  /** Records that the machine has declared lost, by what is here of its streams. */
  get dropped(): bigint {
    let sum = 0n;
    for (const { dropped } of this.#counts.values()) sum += dropped;
    return sum;
  }

  get totals(): SegmentTotals {
    const now = this.#writer.totals;
    return {
      segments: now.segments,
      bytes: this.#before.bytes + now.bytes,
      subbufs: this.#before.subbufs + now.subbufs,
    };
  }

  /** Why it is of no further use: a sync failed. */
  get failure(): unknown {
    return this.#failure;
  }

  /** Takes a whole, checked sub-buffer; false if it is there already. A sync begins by itself. */
  async append(header: SubbufHeader, bytes: Buffer): Promise<boolean> {
    if (header.number < (this.#reached.get(header.cpu) ?? 0n)) return false;
    await this.#writing(() => this.#writer.append(bytes));
    this.#reach(header.cpu, header.number, countsOf(header));
    return true;
  }

  /** Lets somebody else append sub-buffers that are not there yet, the first one of so many bytes. */
  room(bytes: number): Promise<SegmentRoom> {
    return this.#writing(() => this.#writer.room(bytes));
  }

  /** Somebody else has appended one, where there was room. A sync begins by itself. */
  appended({ cpu, number, length, ...counts }: Appended): void {
    if (this.#failure !== undefined) throw this.#failure;
    this.#writer.appended(length);
    this.#reach(cpu, number, counts);
  }

  /** Of who appends from outside; undefined when nobody does any more. */
  set outsideDigest(digest: OutsideDigest | undefined) {
    this.#writer.outsideDigest = digest;
  }

  async #writing<T>(work: () => Promise<T>): Promise<T> {
    if (this.#failure !== undefined) throw this.#failure;
    if (this.isEnded) throw new LabError('LAB_LINK_PROTOCOL', 'a sub-buffer came after the end of its boot');
    try {
      return await work();
    } catch (error) {
      this.#failure = error;
      throw error;
    }
  }

  #reach(cpu: number, number: bigint, { recorded, dropped }: Counts): void {
    this.#reached.set(cpu, number + 1n);
    this.#counts.set(cpu, { recorded, dropped });
    this.#isDirty = true;
    this.#syncing ??= this.#sync();
  }

  async #sync(): Promise<void> {
    try {
      for (let sinceMs = 0; this.#isDirty; sinceMs = performance.now()) {
        // The first one at once: who sends little is acknowledged soon.
        const restMs = sinceMs + SYNC_PAUSE_MS - performance.now();
        if (sinceMs > 0 && restMs > 0) await sleep(restMs);
        await this.#gate.run(async () => {
          // After a failed append the file is opened anew, and synced then.
          if (this.#failure !== undefined) throw this.#failure;
          // Only now: what came while we stood in line is covered too.
          this.#isDirty = false;
          const reached = new Map(this.#reached);
          await this.#writer.sync();
          if (this.#failure !== undefined) throw this.#failure;
          this.#synced = reached;
        });
        this.onSynced?.();
      }
    } catch (error) {
      this.#failure ??= error;
      this.onSynced?.();
    } finally {
      this.#syncing = undefined;
    }
  }

  /** Waits until all that was appended is on the disk. */
  async flush(): Promise<void> {
    await this.#syncing;
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Seals the last segment and closes; a store that failed is only closed, and what is in its file stays. */
  async close(): Promise<void> {
    await this.#syncing;
    if (this.#failure === undefined && !this.isEnded) await this.#writer.close();
    else await this.leave();
  }

  /** Closes, and changes nothing. */
  async leave(): Promise<void> {
    await this.#writer.abandon();
  }
}
