// SPDX-License-Identifier: MIT
/** run.json of a run while it is recorded: what is known so far, and the order in which it reaches the disk. */
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ioError } from '../util/errors.js';
import { CHECKERS_KERNEL_ARGS } from './checkers.js';
import { DEFAULT_MEMORY_MIB, DEFAULT_SMP } from './configs.js';
import type { RunFolder } from './folder.js';
import { type RunManifest, writeManifest } from './manifest.js';
import { hasCheckers, type NamedConfig, type RecordOptions } from './record-options.js';

/** Room for a run.json with more than a thousand marks. */
const RESERVE_BYTES = 256 * 1024;
/** A guest that complains for ever must not make run.json grow without end. */
const PROBLEMS_MAX = 100;

/** What is known before anything was done. */
export function firstManifest(
  options: RecordOptions,
  config: NamedConfig,
  folder: RunFolder,
  problems: readonly string[],
): RunManifest {
  const { kernel, image } = options;
  return {
    format: 1,
    name: folder.name,
    created: new Date().toISOString(),
    state: 'recording',
    config: config.name,
    flavour: kernel.flavour,
    kernel: { digest: kernel.digest, release: kernel.release, bzImage: path.resolve(kernel.bzImage) },
    image: { kind: image.kind, digest: image.digest, raw: path.resolve(image.raw) },
    initramfs: { sha256: '0'.repeat(64) },
    smp: options.smp ?? DEFAULT_SMP,
    memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
    kernelArgs: [...(hasCheckers(options) ? CHECKERS_KERNEL_ARGS : []), ...(options.kernelArgs ?? [])],
    qemuArgs: [...(options.qemuArgs ?? [])],
    accelerator: null,
    acceleratorWhy: 'not chosen yet',
    qemuVersion: null,
    command: [...options.command],
    copyIn: (options.copyIn ?? []).map(({ source, destination }) => ({ source: path.resolve(source), destination })),
    exitStatus: null,
    timedOut: false,
    seconds: { boot: null, command: null, total: null },
    checkpoints: [],
    marks: [],
    disk: { sha256: null },
    trace: { segments: 0, bytes: 0, subbufs: 0, tornBytes: 0 },
    problems: [...problems],
  };
}

export class RunState {
  readonly #file: string;
  #manifest: RunManifest;
  #saving: Promise<void> = Promise.resolve();

  constructor(file: string, first: RunManifest) {
    this.#file = file;
    this.#manifest = first;
  }

  get manifest(): RunManifest {
    return this.#manifest;
  }

  /** Changes what is known; the next save writes it. */
  set(change: Partial<RunManifest>): void {
    this.#manifest = { ...this.#manifest, ...change };
  }

  /** Changes run.json; writes follow one another. */
  save(change: Partial<RunManifest>): Promise<void> {
    this.set(change);
    const write = this.#saving.catch(() => {}).then(() => writeManifest(this.#file, this.#manifest));
    this.#saving = write;
    write.catch(() => {});
    return write;
  }

  /** Settles as the last save so far does. */
  get saved(): Promise<void> {
    return this.#saving;
  }

  problem(text: string): void {
    const { problems } = this.#manifest;
    if (problems.length < PROBLEMS_MAX) this.set({ problems: [...problems, text] });
  }

  /** On a full disk, the room of this file is what the last run.json is written into. */
  get #reserve(): string {
    return `${this.#file}.reserve`;
  }

  async reserveRoom(): Promise<void> {
    try {
      await writeFile(this.#reserve, Buffer.alloc(RESERVE_BYTES));
    } catch (error) {
      throw ioError(`making ${this.#reserve}`, error);
    }
  }

  async releaseRoom(): Promise<void> {
    await rm(this.#reserve, { force: true });
  }
}
