// SPDX-License-Identifier: MIT
/** Keeps each boot of each machine in a run folder of its own. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { BootStore, Gate } from '../link/boot-store.js';
import { type BootId, type BootKeeper, bootName } from '../link/boots.js';
import { runFolderAt } from '../run/folder.js';
import { type ReceivedManifest, readManifest, writeManifest } from '../run/manifest.js';
import { syncFolder } from '../trace/segment-writer.js';
import { ioError, LabError, messageOf } from '../util/errors.js';
import { bootDir, type PointFolder } from './point.js';

/** Syncs at once. More only make each other slower, and would fill Node's four threads, which appends need too. */
const SYNCS = 2;

export interface KeeperOptions {
  readonly folder: PointFolder;
  /** Of this storage point. */
  readonly server: string;
  readonly now: () => Date;
  readonly segmentBytes?: number;
  readonly onEvent: (event: 'torn' | 'sealed' | 'not noted', id: BootId, detail: string | number) => void;
}

export class PointKeeper implements BootKeeper {
  readonly #options: KeeperOptions;
  readonly #gate = new Gate(SYNCS);

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  async open(id: BootId, cpus: number): Promise<BootStore> {
    const { folder, now, segmentBytes, onEvent } = this.#options;
    const run = runFolderAt(bootDir(folder, id));
    if ((await readManifest(run.manifestFile)) === undefined) await this.#begin(id, cpus);
    const store = await BootStore.open({
      folder: run.segmentsDir,
      now: () => BigInt(now().getTime()) * 1_000_000n,
      syncGate: this.#gate,
      ...(segmentBytes === undefined ? {} : { limitBytes: segmentBytes }),
    });
    if (store.tornBytes > 0) onEvent('torn', id, store.tornBytes);
    return store;
  }

  /** The run's folder, with all its names on the disk before anything in it is acknowledged. */
  async #begin(id: BootId, cpus: number): Promise<void> {
    const { folder, server, now } = this.#options;
    const run = runFolderAt(bootDir(folder, id));
    const manifest: ReceivedManifest = {
      format: 1,
      name: run.name,
      created: now().toISOString(),
      state: 'recording',
      received: { machine: id.machine, boot: bootName(id.bootId), cpus, server },
      image: null,
      checkpoints: [],
      marks: [],
      disk: { sha256: null },
      trace: { segments: 0, bytes: 0, subbufs: 0, tornBytes: 0 },
      problems: [],
    };
    try {
      await mkdir(run.segmentsDir, { recursive: true });
      await writeManifest(run.manifestFile, manifest);
      await syncFolder(run.dir);
      await syncFolder(path.dirname(run.dir));
    } catch (error) {
      throw ioError(`making the folder ${run.dir}`, error);
    }
  }

  async closed(id: BootId, store: BootStore, isEnded: boolean): Promise<void> {
    const { folder, onEvent } = this.#options;
    const run = runFolderAt(bootDir(folder, id));
    const { segments, bytes, subbufs } = store.totals;
    try {
      const manifest = await readManifest(run.manifestFile);
      if (manifest === undefined) throw new LabError('LAB_RUN_UNKNOWN', `${run.manifestFile} is gone`);
      const trace = { segments, bytes, subbufs, tornBytes: 0 };
      await writeManifest(run.manifestFile, { ...manifest, state: isEnded ? 'complete' : 'recording', trace });
      onEvent('sealed', id, segments);
    } catch (error) {
      // The segments are the truth; a full disk may leave the note of them out.
      onEvent('not noted', id, messageOf(error));
    }
  }
}
