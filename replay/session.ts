// SPDX-License-Identifier: MIT
/**
 * A session: a replay VM that stays up and goes to any instant of a run, forwards and backwards. Forwards it applies
 * effects and leaves keyframes behind; backwards it loads the nearest one and applies what is missing. A saved VM holds
 * the disk, the file system's caches and the agent's table in one, so nothing has to be made fit again.
 *
 * Between two commands the file system is complete and frozen: the disk is exactly the instant.
 */
import { createHash } from 'node:crypto';
import { access, rm, stat } from 'node:fs/promises';
import path from 'node:path';
import { AT, OP_NAMES } from '../lab/abi/layout.js';
import { runTool } from '../lab/proc/tool.js';
import { checkImagePath, convertImage } from '../lab/run/disk.js';
import { imageOf } from '../lab/run/folder.js';
import { checkImage, restoreCheckpoint } from '../lab/run/truth.js';
import type { LabContext } from '../lab/util/context.js';
import { LabError } from '../lab/util/errors.js';
import { Scope } from '../lab/util/scope.js';
import { runJob } from '../lab/vm/jobs.js';
import { QEMU_PROGRAM } from '../lab/vm/qemu-args.js';
import { AgentLink, DISK_NODE, type ReplayVm } from './agent-link.js';
import type { Doubt, Findings } from './control.js';
import type { Gaps } from './gaps.js';
import {
  deleteKeyframes,
  type Keyframe,
  type KeyframeFolder,
  keyframeFolder,
  nearestKeyframe,
  readKeyframes,
  releaseKeyframes,
  type Spacing,
  spacingFor,
  takeKeyframes,
  writeKeyframes,
} from './keyframes.js';
import { type LostEffects, lostEffects } from './lost.js';
import { memoryMiBOf } from './memory.js';
import { planEffects } from './plan.js';
import { type Shortfalls, shortfallsOf } from './shortfalls.js';
import { gapsOf, lastSeqOf, markSeqsOf, openSource, type RebuildSource, rootDevOf, seqOf } from './source.js';
import { type Unvouched, unvouched } from './unvouched.js';
import { type ImageName, listNames } from './verify/names.js';

export interface SessionOptions {
  readonly runDir: string;
  readonly vm: ReplayVm;
  /** Distances between keyframes; chosen by the run's size unless told. */
  readonly spacing?: Spacing;
}

/** Where a command led, and what is in doubt there. */
export interface Reached extends Shortfalls {
  readonly seq: bigint;
  /** The last effect applied on this way, by name; undefined if none had to be. */
  readonly op: string | undefined;
  /** The keyframe that was loaded on the way. */
  readonly loaded: bigint | undefined;
  readonly applied: number;
  readonly seconds: number;
}

/** What a written image can't be vouched for, as of a rebuild. */
export interface Exported extends Shortfalls {
  /** What missing effects may have changed, by name. */
  readonly unvouched: readonly Unvouched[];
}

const NO_FINDINGS: Findings = { mismatches: 0n, first: [], taintCount: 0n, taints: [] };

/** Small, because every keyframe holds what is used of it; a run of many inodes gets more. */
const LEAST_MEMORY_MIB = 256;
/** A VM of that size is written and read in about a second, on a slow disk in ten. */
const SNAPSHOT_TIMEOUT_MS = 120_000;

/**
 * A way that was longer than this many effects is not gone again for each step back: the VM is also saved a little before
 * its end, in one of a few places that are used in turn.
 */
const LONG_WAY = 2000n;
const STEPS_BACK = 1000n;
const NEAR_TAGS = ['near-0', 'near-1', 'near-2', 'near-3'] as const;

/** What a saved VM depends on. */
async function identityOf(source: RebuildSource, vm: ReplayVm, spacing: Spacing, signal: AbortSignal): Promise<string> {
  const { run, index, checkpointSeq } = source;
  const parts = {
    qemu: (await runTool([QEMU_PROGRAM, '--version'], { signal })).split('\n')[0],
    vm,
    run: { created: run.manifest.created, image: imageOf(run).digest, bytes: index.totals.bytes },
    checkpointSeq: checkpointSeq.toString(),
    spacing,
  };
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}

export class ReplaySession {
  readonly source: RebuildSource;
  /** Holds what outlives the VM. */
  readonly #scope: Scope;
  readonly #ctx: LabContext;
  readonly #link: AgentLink;
  readonly #place: KeyframeFolder;
  readonly #identity: string;
  readonly #spacing: Spacing;
  readonly #dev: number;
  #keyframes: readonly Keyframe[];
  /** Saved for this session only, the oldest first. */
  #near: readonly Keyframe[] = [];
  #position: bigint;
  /** Bytes of records since the last keyframe that was saved or loaded. */
  #bytesSince = 0;
  readonly #gaps: Gaps;
  readonly #lost: LostEffects;
  #findings = NO_FINDINGS;
  #stops = 0;

  private constructor(
    parts: {
      source: RebuildSource;
      scope: Scope;
      link: AgentLink;
      place: KeyframeFolder;
      identity: string;
      spacing: Spacing;
      dev: number;
      keyframes: readonly Keyframe[];
      position: bigint;
      gaps: Gaps;
    },
    ctx: LabContext,
  ) {
    this.source = parts.source;
    this.#scope = parts.scope;
    this.#ctx = ctx;
    this.#link = parts.link;
    this.#place = parts.place;
    this.#identity = parts.identity;
    this.#spacing = parts.spacing;
    this.#dev = parts.dev;
    this.#keyframes = parts.keyframes;
    this.#position = parts.position;
    this.#gaps = parts.gaps;
    this.#lost = lostEffects(parts.gaps, parts.source.index.lost, parts.dev);
  }

  /**
   * Starts at the checkpoint. Close it with `close`.
   *
   * @throws LabError LAB_RUN_STATE while another process goes through the same run
   */
  static async open(options: SessionOptions, ctx: LabContext): Promise<ReplaySession> {
    const scope = new Scope();
    try {
      const source = await openSource(options.runDir, ctx.signal);
      scope.defer('the index', () => source.index.close());
      const place = keyframeFolder(source.run.dir);
      await takeKeyframes(place);
      scope.defer("the keyframes' lock", () => releaseKeyframes(place));
      return await ReplaySession.#start({ source, place, scope }, options, ctx);
    } catch (error) {
      for (const failed of await scope.close()) ctx.log.warn(failed.message);
      throw error;
    }
  }

  static async #start(
    own: { source: RebuildSource; place: KeyframeFolder; scope: Scope },
    options: SessionOptions,
    ctx: LabContext,
  ): Promise<ReplaySession> {
    const { source, place } = own;
    // The saved disks lean on it as well.
    await checkImage(source.run, ctx);
    const { seqFirst, seqLast, bytes } = source.index.totals;
    const spacing = options.spacing ?? spacingFor(seqLast - seqFirst + 1n, bytes);
    const vm = { ...options.vm, memoryMiB: await memoryMiBOf(source, LEAST_MEMORY_MIB) };
    const identity = await identityOf(source, vm, spacing, ctx.signal);
    let keyframes = await readKeyframes(place, identity);
    const isThere = await access(place.disk).then(
      () => true,
      () => false,
    );
    if (!isThere) keyframes = [];
    const dev = await rootDevOf(source, ctx.signal);
    const gaps = await gapsOf(source, ctx.signal);
    const begin = { ...own, identity, spacing, dev, gaps };
    const start = keyframes[0];
    if (start !== undefined) {
      try {
        const link = await launch(vm, place, ctx);
        const session = new ReplaySession({ ...begin, link, keyframes, position: start.seq }, ctx);
        return await session.#orCloseVm(async () => {
          await session.#load(start);
          return session;
        });
      } catch (error) {
        ctx.signal.throwIfAborted();
        if (!(error instanceof LabError) || error.code !== 'LAB_QMP_ERROR') throw error;
        ctx.log.warn(`the keyframes can't be used and are made again: ${error.message}`);
      }
    }
    await deleteKeyframes(place);
    await restoreCheckpoint(source.run, place.disk, 'qcow2', ctx);
    const link = await launch(vm, place, ctx);
    const session = new ReplaySession({ ...begin, link, keyframes: [], position: source.checkpointSeq }, ctx);
    return session.#orCloseVm(async () => {
      await link.boot();
      await link.begin({ dev, goOn: true, strict: false, midway: true });
      await session.#saveHere();
      return session;
    });
  }

  async #orCloseVm<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.#closeVm();
      throw error;
    }
  }

  get position(): bigint {
    return this.#position;
  }

  get keyframes(): readonly Keyframe[] {
    return this.#keyframes;
  }

  /** Bytes that the keyframes take on the host's disk. */
  async diskBytes(): Promise<number> {
    return (await stat(this.#place.disk)).blocks * 512;
  }

  /** The sequence number of an instant: what `--at` takes. */
  async resolve(instant: string): Promise<bigint> {
    return seqOf(this.source, instant, this.#ctx.signal);
  }

  async #job(command: string, tag: string): Promise<void> {
    // Saving and loading also take the node that holds the VM's memory.
    const vmstate = command === 'snapshot-delete' ? {} : { vmstate: DISK_NODE };
    await runJob(
      this.#link.machine.qmp,
      command,
      { tag, ...vmstate, devices: [DISK_NODE] },
      { timeoutMs: SNAPSHOT_TIMEOUT_MS, signal: this.#ctx.signal },
    );
  }

  /** Completes and freezes the disk here and saves the VM. */
  async #save(tag: string): Promise<Keyframe> {
    await this.#stop(true);
    await this.#job('snapshot-save', tag);
    return { seq: this.#position, tag, findings: this.#findings };
  }

  /** Saves the VM for later sessions as well. */
  async #saveHere(): Promise<void> {
    const tag = `seq-${this.#position}`;
    // It may be there from a session that ended before it had noted it.
    await this.#job('snapshot-delete', tag);
    const keyframe = await this.#save(tag);
    this.#bytesSince = 0;
    this.#keyframes = [...this.#keyframes, keyframe].sort((a, b) => (a.seq < b.seq ? -1 : 1));
    await writeKeyframes(this.#place, { identity: this.#identity, keyframes: this.#keyframes });
  }

  async #saveNear(): Promise<void> {
    const used = this.#near.map(({ tag }) => tag);
    const tag = NEAR_TAGS.find((candidate) => !used.includes(candidate)) ?? used[0] ?? NEAR_TAGS[0];
    this.#near = this.#near.filter((keyframe) => keyframe.tag !== tag);
    // It may be there from this session, or from one that was killed.
    await this.#job('snapshot-delete', tag);
    this.#near = [...this.#near, await this.#save(tag)];
  }

  async #load(keyframe: Keyframe): Promise<void> {
    await this.#job('snapshot-load', keyframe.tag);
    this.#bytesSince = 0;
    this.#link.rewound();
    await this.#link.machine.start();
    this.#position = keyframe.seq;
    this.#findings = keyframe.findings;
  }

  async #stop(isLean: boolean): Promise<readonly Doubt[]> {
    const answer = await this.#link.stop(++this.#stops, `seq ${this.#position}`, isLean);
    const { mismatches, first, taintCount, taints, waiting, doubts } = answer;
    this.#findings = { mismatches, first, taintCount, taints, waiting };
    return doubts;
  }

  /**
   * Applies effects up to and including `to`, leaving keyframes behind where there are none yet; `end` completes and
   * freezes the disk there.
   */
  async #forward(to: bigint, end: () => Promise<unknown>): Promise<{ applied: number; op: string | undefined }> {
    const { source } = this;
    const from = this.#position;
    const step = this.#ctx.progress.step(`replay to seq ${to}`);
    let applied = 0;
    let op: string | undefined;
    await this.#link.resume(this.#stops);
    try {
      const plan = planEffects(source.run.dir, source.index, {
        after: from,
        to,
        dev: this.#dev,
        marks: markSeqsOf(source.run),
        signal: this.#ctx.signal,
      });
      for await (const item of plan) {
        if (item.type === 'gap') {
          await this.#link.lost(this.#lost.of(item));
          // The agent knows of the losses now: a keyframe of before them would, too.
          this.#position = item.last;
          continue;
        }
        if (this.#isKeyframeDue()) {
          await this.#saveHere();
          await this.#link.resume(this.#stops);
          step.update(`${item.seq - from} of ${to - from} effects, ${this.#keyframes.length} keyframes`);
        }
        const full = this.#link.put(item.buf);
        if (full !== undefined) await full;
        applied++;
        this.#bytesSince += item.buf.length;
        op = OP_NAMES[item.buf.readUInt16LE(AT.lemona_rec.code)];
        this.#position = item.seq;
      }
      this.#position = to;
      await end();
      step.done(`${applied} effects`);
    } catch (error) {
      step.fail();
      throw error;
    }
    return { applied, op };
  }

  #isKeyframeDue(): boolean {
    const last = nearestKeyframe(this.#keyframes, this.#position)?.seq ?? this.#position;
    return (
      this.#position - last >= BigInt(this.#spacing.effects) ||
      (this.#bytesSince >= this.#spacing.bytes && this.#position > last)
    );
  }

  /** Goes to an instant; the disk is complete and frozen there. */
  async goto(seq: bigint): Promise<Reached> {
    const startedMs = performance.now();
    const saved = [...this.#keyframes, ...this.#near].sort((a, b) => (a.seq < b.seq ? -1 : 1));
    const nearest = nearestKeyframe(saved, seq);
    let loaded: bigint | undefined;
    if (seq < this.#position || (nearest !== undefined && nearest.seq > this.#position)) {
      if (nearest === undefined) {
        throw new LabError(
          'LAB_INSTANT_UNKNOWN',
          `effect ${seq} is before the checkpoint, ${this.source.checkpointSeq}`,
        );
      }
      await this.#load(nearest);
      loaded = nearest.seq;
    }
    let applied = 0;
    let op: string | undefined;
    if (seq - this.#position > LONG_WAY) {
      applied += (await this.#forward(seq - STEPS_BACK, () => this.#saveNear())).applied;
    }
    if (seq > this.#position) {
      const way = await this.#forward(seq, () => this.#stop(false));
      applied += way.applied;
      op = way.op;
    }
    return {
      seq,
      applied,
      op,
      loaded,
      seconds: (performance.now() - startedMs) / 1000,
      ...this.shortfalls(),
    };
  }

  /** What speaks against the disk as it is here. */
  shortfalls(): Shortfalls {
    const at = this.#position;
    const gaps = this.#gaps.listed.flatMap((gap) =>
      gap.first > at ? [] : [{ ...gap, last: gap.last < at ? gap.last : at }],
    );
    return shortfallsOf(this.source, gaps, this.#findings, at >= lastSeqOf(this.source));
  }

  /** `count` effects later, or earlier if it is negative; stays within the record. */
  async step(count: number): Promise<Reached> {
    const last = lastSeqOf(this.source);
    const wanted = this.#position + BigInt(count);
    const seq = wanted < this.source.checkpointSeq ? this.source.checkpointSeq : wanted > last ? last : wanted;
    return this.goto(seq);
  }

  /** Writes the disk as it is here into a file of its own, and says what of it can't be vouched for. */
  async export(output: string, format: 'raw' | 'qcow2'): Promise<Exported> {
    await checkImagePath(output);
    const about = this.#lost.upTo(this.#position);
    const doubts = about.length === 0 ? [] : await this.#doubtsHere();
    await this.#write(output, format);
    const unknown = about.length === 0 ? [] : unvouched(about, doubts, await this.#namesOf(output, format));
    return { unvouched: unknown, ...this.shortfalls() };
  }

  /** The agent says its doubts at each stop, and a saved VM that was loaded has said none yet. */
  async #doubtsHere(): Promise<readonly Doubt[]> {
    await this.#link.resume(this.#stops);
    return this.#stop(false);
  }

  async #namesOf(image: string, format: 'raw' | 'qcow2'): Promise<readonly ImageName[]> {
    if (format === 'raw') return listNames(image, this.#ctx);
    const raw = path.join(this.#place.folder, 'names.raw');
    try {
      await convertImage({ file: image, format }, raw, 'raw', this.#ctx.signal);
      return await listNames(raw, this.#ctx);
    } finally {
      await rm(raw, { force: true });
    }
  }

  async #write(output: string, format: 'raw' | 'qcow2'): Promise<void> {
    const { qmp } = this.#link.machine;
    // A stopped QEMU has written its tables, and changes nothing while the file is read.
    await qmp.execute('stop');
    try {
      await convertImage({ file: this.#place.disk, format: 'qcow2', isInUse: true }, output, format, this.#ctx.signal);
    } finally {
      await qmp.execute('cont');
    }
  }

  /** Ends the VM; the keyframes stay. */
  async close(): Promise<void> {
    await this.#closeVm();
    for (const error of await this.#scope.close()) this.#ctx.log.warn(error.message);
  }

  async #closeVm(): Promise<void> {
    for (const error of await this.#link.close()) this.#ctx.log.warn(error.message);
  }
}

async function launch(vm: ReplayVm, place: KeyframeFolder, ctx: LabContext): Promise<AgentLink> {
  return AgentLink.launch(
    {
      vm,
      disk: { path: place.disk, format: 'qcow2' },
      logFolder: place.folder,
      // Freed memory becomes zeros, which a saved VM does not store.
      kernelArgs: ['init_on_free=1'],
    },
    ctx,
  );
}
