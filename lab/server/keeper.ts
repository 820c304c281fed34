// SPDX-License-Identifier: MIT
/** Keeps each boot of each machine in a run folder of its own, and the chain of its evidence with it. */
import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { EvidenceChain, signedSegments } from '../evidence/chain.js';
import { BootStore, Gate } from '../link/boot-store.js';
import { type BootId, type BootKeeper, bootName } from '../link/boots.js';
import type { StreamEnds } from '../link/wire.js';
import { sha256File } from '../run/digest.js';
import { type RunFolder, runFolderAt } from '../run/folder.js';
import { isRecorded, type ReceivedManifest, readManifest, writeManifest } from '../run/manifest.js';
import { syncFolder } from '../trace/segment-writer.js';
import { ioError, LabError, messageOf } from '../util/errors.js';
import { bootDir, type PointFolder } from './point.js';

/** Syncs at once. More only make each other slower, and would fill Node's four threads, which appends need too. */
const SYNCS = 2;

export interface KeeperOptions {
  readonly folder: PointFolder;
  /** Of this storage point. */
  readonly server: string;
  /** Of the lab's key, and of its witness. */
  readonly dataDir: string;
  readonly now: () => Date;
  readonly segmentBytes?: number;
  readonly onEvent: (
    event: 'torn' | 'damaged' | 'forked' | 'sealed' | 'not noted',
    id: BootId,
    detail: string | number,
  ) => void;
}

export class PointKeeper implements BootKeeper {
  readonly #options: KeeperOptions;
  readonly #gate = new Gate(SYNCS);
  /** Of the boots that are open, by their folders; undefined: closed, since the machine said that it was all. */
  readonly #chains = new Map<string, EvidenceChain | undefined>();

  constructor(options: KeeperOptions) {
    this.#options = options;
  }

  async open(id: BootId, cpus: number): Promise<BootStore> {
    const { folder, now, segmentBytes, onEvent } = this.#options;
    const run = runFolderAt(bootDir(folder, id));
    const manifest = await readManifest(run.manifestFile);
    if (manifest === undefined) await this.#begin(id, cpus);
    const store = await BootStore.open({
      folder: run.segmentsDir,
      now: () => BigInt(now().getTime()) * 1_000_000n,
      syncGate: this.#gate,
      signed: await signedSegments(run.dir),
      onSealed: async (segment) => this.#chainOf(run).segment(segment),
      ...(segmentBytes === undefined ? {} : { limitBytes: segmentBytes }),
    });
    try {
      await this.#openChain(id, run, store);
    } catch (error) {
      await store.leave();
      throw error;
    }
    if (store.tornBytes > 0) onEvent('torn', id, store.tornBytes);
    if (manifest !== undefined && !isRecorded(manifest)) store.forked = manifest.received.forked;
    for (const { name, detail } of store.damaged) onEvent('damaged', id, `${name}: ${detail}`);
    return store;
  }

  /** After a failure of the disk the chain is still ours; else it is begun, or gone on with. */
  async #openChain(id: BootId, run: RunFolder, store: BootStore): Promise<void> {
    const known = this.#chains.get(run.dir);
    if (known !== undefined) await known.catchUp(store.openSegment);
    else {
      const { dataDir, server } = this.#options;
      const options = { dir: run.dir, dataDir, digest: (file: string) => sha256File(file) };
      const origin = { run: run.name, machine: id.machine, server };
      this.#chains.set(run.dir, await EvidenceChain.goOn(options, origin, store.openSegment));
    }
    if (this.#chains.get(run.dir) === undefined) store.isEnded = true;
  }

  async forked(id: BootId, why: string): Promise<void> {
    const { folder, onEvent } = this.#options;
    const { manifestFile } = runFolderAt(bootDir(folder, id));
    onEvent('forked', id, why);
    const manifest = await readManifest(manifestFile);
    if (manifest === undefined || isRecorded(manifest)) return;
    await writeManifest(manifestFile, { ...manifest, received: { ...manifest.received, forked: why } });
  }

  #chainOf(run: RunFolder): EvidenceChain {
    const chain = this.#chains.get(run.dir);
    if (chain === undefined) throw new LabError('LAB_BUG', `${run.dir}: a segment was sealed after the chain's end`);
    return chain;
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
      received: { machine: id.machine, boot: bootName(id), cpus, server },
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

  /** Notes what came; when nothing more will, the chain is closed, and no file of the boot changes any more. */
  async closed(id: BootId, store: BootStore, ends: StreamEnds | undefined): Promise<boolean> {
    const { folder, onEvent } = this.#options;
    const run = runFolderAt(bootDir(folder, id));
    const chain = this.#chains.get(run.dir);
    this.#chains.delete(run.dir);
    // It was closed before.
    if (chain === undefined) return true;
    const { segments, bytes, subbufs } = store.totals;
    try {
      const manifest = await readManifest(run.manifestFile);
      if (manifest === undefined || isRecorded(manifest))
        throw new LabError('LAB_RUN_UNKNOWN', `${run.manifestFile} is gone, or another`);
      const made = Object.fromEntries([...(ends ?? [])].map(([cpu, { all }]) => [cpu, all.toString()]));
      const received = { ...manifest.received, dropped: store.dropped.toString(), ...(ends && { made }) };
      const state = ends === undefined ? 'recording' : 'complete';
      const trace = { segments, bytes, subbufs, tornBytes: 0 };
      await writeManifest(run.manifestFile, { ...manifest, received, state, trace });
      if (ends !== undefined) await chain.close();
      onEvent('sealed', id, segments);
      return true;
    } catch (error) {
      // The segments are the truth; a full disk may leave the note of them out.
      onEvent('not noted', id, messageOf(error));
      return false;
    } finally {
      await this.#leave(id, chain);
    }
  }

  async lost(id: BootId): Promise<void> {
    const { dir } = runFolderAt(bootDir(this.#options.folder, id));
    const chain = this.#chains.get(dir);
    this.#chains.delete(dir);
    if (chain !== undefined) await this.#leave(id, chain);
  }

  /** Without its lock nobody else is kept out for longer than this process lives. */
  async #leave(id: BootId, chain: EvidenceChain): Promise<void> {
    await chain.leave().catch((error: unknown) => this.#options.onEvent('not noted', id, messageOf(error)));
  }
}
