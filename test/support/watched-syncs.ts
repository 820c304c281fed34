// SPDX-License-Identifier: MIT
/**
 * Syncs of this process below a folder, watched and held: what a loss of power would leave is known at every moment. Only
 * a sync that has returned counts, for what was in the file, or in the folder, when it was called.
 */
import { fstatSync, readdirSync, readlinkSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import path from 'node:path';
import { type Deferred, deferred, pollUntil } from '../../lab/util/deadline.js';

/** A sync that was called and has not returned. */
export interface HeldSync {
  readonly path: string;
  /** Of the file when it was called; 0 of a folder. */
  readonly bytes: number;
  /** Lets the real one run; resolves when it has returned. */
  release(): Promise<void>;
}

const NAMES = ['sync', 'datasync'] as const;
const CALL_WAIT_MS = 10_000;

export class WatchedSyncs {
  /** In the order of the calls. */
  readonly held: HeldSync[] = [];
  /** Bytes of each file that are on the disk. */
  readonly bytes = new Map<string, number>();
  /** Paths whose names are on the disk. */
  readonly names = new Set<string>();
  /** All that have returned, in order. */
  readonly done: string[] = [];
  /** Which paths' syncs wait for their release; the others run. */
  holds: (path: string) => boolean = () => false;
  /** Of those that are not held: how much later they return. */
  laterMs: () => number = () => 0;
  readonly #folder: string;
  /** Of those that are not released, taken out or not. */
  readonly #waiting = new Set<() => void>();
  #restore = () => {};

  private constructor(folder: string) {
    this.#folder = folder;
  }

  static async begin(folder: string): Promise<WatchedSyncs> {
    const watched = new WatchedSyncs(folder);
    const some = await open(folder, 'r');
    const proto = Object.getPrototypeOf(some) as FileHandle;
    await some.close();
    const real = { sync: proto.sync, datasync: proto.datasync };
    for (const name of NAMES)
      proto[name] = function (this: FileHandle) {
        return watched.#run(this, real[name]);
      };
    watched.#restore = () => void Object.assign(proto, real);
    return watched;
  }

  /** All that is held runs, and nothing is watched any more. */
  end(): void {
    this.#restore();
    this.holds = () => false;
    for (const release of this.#waiting) release();
  }

  async #run(file: FileHandle, sync: (this: FileHandle) => Promise<void>): Promise<void> {
    const name = readlinkSync(`/proc/self/fd/${file.fd}`);
    if (!name.startsWith(this.#folder)) return sync.call(file);
    const stat = fstatSync(file.fd);
    const inside = stat.isDirectory() ? readdirSync(name).map((entry) => path.join(name, entry)) : [];
    const over = deferred<void>();
    if (this.holds(name)) await this.#held(name, stat.isDirectory() ? 0 : stat.size, over);
    else {
      const ms = this.laterMs();
      if (ms > 0) await new Promise((resolve) => setTimeout(resolve, ms));
    }
    await sync.call(file);
    if (!stat.isDirectory()) this.bytes.set(name, stat.size);
    for (const entry of inside) this.names.add(entry);
    this.done.push(name);
    over.resolve();
  }

  #held(name: string, bytes: number, over: Deferred<void>): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.add(resolve);
      const release = () => {
        this.#waiting.delete(resolve);
        resolve();
        return over.promise;
      };
      this.held.push({ path: name, bytes, release });
    });
  }

  /** Waits for the next one that is held, and takes it out. */
  next(label: string): Promise<HeldSync> {
    return pollUntil(() => this.held.shift(), { label, timeoutMs: CALL_WAIT_MS, intervalMs: 2 });
  }
}
