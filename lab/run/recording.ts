// SPDX-License-Identifier: MIT
/**
 * One recorded run, from an empty folder to a sealed record.
 *
 *   folder → overlay → accelerator → (checkpoint, static) → boot → hello → (checkpoint, module) → copy-in → CMD
 *   → shut down (mark `end`, drained) → QEMU's end → seal → run.json → the chain is closed
 *
 * However it ends, QEMU is gone, what arrived is in the segments, run.json says how far it came (`failed` before the
 * checkpoint, `torn` after it), and the chain covers all of it.
 */
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { text as collectText } from 'node:stream/consumers';
import { EvidenceChain } from '../evidence/chain.js';
import { MEMORY_FILE, type SegmentFolder } from '../evidence/files.js';
import { compareStreams } from '../trace/compare-streams.js';
import type { SealedSegment } from '../trace/segment-writer.js';
import type { LabContext } from '../util/context.js';
import { withDeadline } from '../util/deadline.js';
import { LabError, messageOf, throwIfAborted } from '../util/errors.js';
import { withStep } from '../util/progress.js';
import { type AcceleratorChoice, chooseAccelerator } from '../vm/accel.js';
import type { KernelReport } from '../vm/kernel-reports.js';
import { ASK_CHECKERS, answersOf, reportsOnConsole } from './checkers.js';
import { copyIn } from './copy-in.js';
import { sha256File, sha256FileCached } from './digest.js';
import { createOverlay } from './disk.js';
import type { RunFolder } from './folder.js';
import { Guest, type RecordingParts, roundSeconds } from './guest.js';
import { type RunManifest, writeAtomically } from './manifest.js';
import { hasCheckers, type NamedConfig, type RecordOptions, type RecordResult } from './record-options.js';
import { recoverRelics } from './recover.js';
import { firstManifest, RunState } from './run-state.js';
import { readWitnessFile } from './witness.js';

/** Freeze, sync, snapshot. */
const CHECKPOINT_TIMEOUT_MS = 120_000;
/** A guest that shuts down without sending anything for this long is stuck; one that still drains is not. */
const SHUTDOWN_IDLE_MS = 120_000;
const POWER_OFF_TIMEOUT_MS = 30_000;
/** As timeout(1): TERM first, KILL if that does not help. */
const TIMEOUT_KILL_MS = 5_000;
const TIMEOUT_STATUS = 124;
const SIGTERM = 15;
const SIGKILL = 9;

export class Recording {
  readonly #parts: RecordingParts;
  readonly #startedMs = performance.now();
  #answers: readonly KernelReport[] = [];
  #chain: EvidenceChain | undefined;
  /** There as soon as QEMU is: also while it boots. */
  #guest: Guest | undefined;

  constructor(
    options: RecordOptions,
    config: NamedConfig,
    folder: RunFolder,
    problems: readonly string[],
    ctx: LabContext,
  ) {
    this.#parts = {
      options,
      config,
      folder,
      state: new RunState(folder.manifestFile, firstManifest(options, config, folder, problems)),
      ctx,
      stop: new AbortController(),
      onSealed: async (segment) => this.#chain?.segment(segment),
      onSocketSealed: async (segment) => this.#chain?.segment(segment, 'segments-socket'),
    };
  }

  /** The guest said hello: from here on its disk may have changed. */
  get hasBooted(): boolean {
    return this.#parts.state.manifest.seconds.boot !== null;
  }

  async run(): Promise<RecordResult> {
    const { options, folder, state, ctx, stop } = this.#parts;
    const { signal, progress } = ctx;
    const onAbort = () => stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    try {
      await this.#prepare();
      await this.#checkpointBeforeBoot();
      const up = await Guest.launch(this.#parts);
      this.#guest = up;
      await up.boot();
      await this.#checkpointLive(up);
      const guard = up.guard(Number.POSITIVE_INFINITY);
      for (const copy of options.copyIn ?? [])
        await withStep(progress, `copying ${copy.source} into the guest`, () => copyIn(copy, up.ctl, guard));
      await this.#command(up);
      if (hasCheckers(options))
        await withStep(progress, "asking for the kernel's own reports", () => this.#askCheckers(up));
      await withStep(progress, 'shutting the guest down', () => this.#shutDown(up));
      await this.#seal(await up.finish());
    } catch (error) {
      throw await this.#fail(error);
    } finally {
      signal.removeEventListener('abort', onAbort);
      await state.releaseRoom();
    }
    // Outside: a run whose chain can't be closed is complete all the same.
    await this.#chain?.close();
    const { manifest } = state;
    const { exitStatus, timedOut } = manifest;
    return { runDir: folder.dir, manifest, exitStatus: exitStatus ?? TIMEOUT_STATUS, timedOut };
  }

  async #prepare(): Promise<void> {
    const { options, folder, state, ctx, stop } = this.#parts;
    await state.reserveRoom();
    await state.save({ initramfs: { sha256: await sha256File(options.initramfs) } });
    this.#chain = await EvidenceChain.open(
      {
        dir: folder.dir,
        dataDir: ctx.dataDir,
        // The disk's digest is known from run.json by then.
        digest: (file) => (file === folder.diskFile ? sha256FileCached(file, ctx.cacheDir) : sha256File(file)),
      },
      { run: folder.name },
    );
    throwIfAborted(stop.signal, 'recording');
    await createOverlay(options.image.raw, folder.diskFile, stop.signal);
    const choice = await this.#accelerator();
    await state.save({ accelerator: choice.accelerator, acceleratorWhy: choice.why });
  }

  async #accelerator(): Promise<AcceleratorChoice> {
    const { options, ctx, stop } = this.#parts;
    const { accelerator, witness, kernel, initramfs, image } = options;
    if (accelerator !== undefined) return { accelerator, why: 'asked for' };
    if (witness !== undefined) return { accelerator: 'tcg', why: 'the witness is a plugin of the emulator' };
    return chooseAccelerator(
      { digest: kernel.digest, kernel: kernel.bzImage, initrd: initramfs, rootRaw: image.raw },
      { log: ctx.log, cacheDir: ctx.cacheDir, signal: stop.signal },
    );
  }

  /** A static build records from its first instruction: its checkpoint is the image, known before power-on. */
  async #checkpointBeforeBoot(): Promise<void> {
    const { config } = this.#parts;
    if (config.records && config.flavour === 'y') await this.#addCheckpoint('0', null);
  }

  /** A module starts under a frozen file system; the guest asks for the snapshot through the mark port. */
  async #checkpointLive(guest: Guest): Promise<void> {
    const { config, ctx } = this.#parts;
    if (!config.records || config.flavour === 'y') return;
    const taken = guest.marks.expect('start');
    guest.ctl.checkpoint();
    const guard = guest.guard(CHECKPOINT_TIMEOUT_MS);
    const mark = await withStep(ctx.progress, 'taking the checkpoint', () => guard(taken, 'the checkpoint'));
    await this.#addCheckpoint(mark.seq, mark.snapshot);
  }

  async #addCheckpoint(seq: string, snapshot: string | null): Promise<void> {
    const { folder, state, ctx, stop } = this.#parts;
    const sha256 = await sha256FileCached(state.manifest.image.raw, ctx.cacheDir, stop.signal);
    const entry = { name: 'start', seq, snapshot, sha256 };
    const file = path.join(folder.checkpointsDir, `${entry.name}.json`);
    await writeAtomically(file, `${JSON.stringify(entry, null, 2)}\n`);
    await state.save({ checkpoints: [...state.manifest.checkpoints, entry] });
  }

  async #command(guest: Guest): Promise<void> {
    const { options, state, ctx } = this.#parts;
    const startedMs = performance.now();
    const { stdin, stdout, stderr, timeoutMs } = options;
    const command = guest.ctl.run(options.command, {
      ...(stdin === undefined ? {} : { stdin }),
      ...(stdout === undefined ? {} : { stdout }),
      ...(stderr === undefined ? {} : { stderr }),
    });
    const guard = guest.guard(Number.POSITIVE_INFINITY);
    let timedOut = false;
    let killTimer: NodeJS.Timeout | undefined;
    const termTimer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            timedOut = true;
            command.kill(SIGTERM);
            killTimer = setTimeout(() => command.kill(SIGKILL), TIMEOUT_KILL_MS);
          }, timeoutMs);
    try {
      const status = await guard(command.status, 'the command');
      if (timedOut) ctx.log.warn(`the command was ended: it ran longer than ${(timeoutMs ?? 0) / 1000} s`);
      await state.save({
        exitStatus: timedOut ? TIMEOUT_STATUS : status,
        timedOut,
        seconds: { ...state.manifest.seconds, command: roundSeconds((performance.now() - startedMs) / 1000) },
      });
    } finally {
      clearTimeout(termTimer);
      clearTimeout(killTimer);
    }
  }

  async #askCheckers(guest: Guest): Promise<void> {
    const stdout = new PassThrough();
    const text = collectText(stdout);
    const { status } = guest.ctl.run(ASK_CHECKERS, { stdout, stderr: stdout });
    const code = await guest.guard(Number.POSITIVE_INFINITY)(status, "the kernel's own reports");
    stdout.end();
    this.#answers = answersOf(await text, code);
  }

  /** Of a debug flavour: what its checkers found, up to its end. */
  async #kernelReports(): Promise<Pick<RunManifest, 'kernelReports'>> {
    const { options, folder } = this.#parts;
    if (!hasCheckers(options)) return {};
    return { kernelReports: [...(await reportsOnConsole(folder.consoleLog)), ...this.#answers] };
  }

  /** Waits for the guest's Z; as long as trace still flows, it is draining and not stuck. */
  async #shutDown(guest: Guest): Promise<void> {
    const { stop } = this.#parts;
    const { machine, ctl, receiver, socket } = guest;
    guest.marks.allow('end');
    // The guest powers off only when we have what it sent: nothing may be on its way when QEMU ends.
    const off = ctl.shutDown().then(async (sentBytes) => {
      await receiver.received(sentBytes);
      await socket?.ended;
      ctl.powerOff();
    });
    for (;;) {
      const before = guest.receivedBytes;
      try {
        await machine.guard(off, {
          label: "the guest's shutdown",
          timeoutMs: SHUTDOWN_IDLE_MS,
          signal: stop.signal,
        });
        break;
      } catch (error) {
        const timedOut = error instanceof LabError && error.code === 'LAB_TIMEOUT';
        if (!timedOut || guest.receivedBytes === before) throw error;
      }
    }
    await withDeadline(machine.off, {
      label: 'the end of a guest that said it would power off',
      timeoutMs: POWER_OFF_TIMEOUT_MS,
      signal: stop.signal,
    });
  }

  /** A record that came by two ways must be the same one. */
  async #compare(): Promise<readonly string[]> {
    const { config, folder, state, ctx } = this.#parts;
    const { relay, socket } = config;
    if (!relay || !socket) return [];
    const { segmentsDir, socketSegmentsDir } = folder;
    const { same, afterEnd, differences } = await compareStreams(segmentsDir, socketSegmentsDir, true);
    state.set({ bothWays: { same, afterEnd } });
    ctx.log.info(
      `relay and socket: ${same} sub-buffers are the same, ${differences.length} differences, ` +
        `${afterEnd} of the relay alone after the end of the record`,
    );
    for (const difference of differences) state.problem(`relay and socket: ${difference}`);
    return differences;
  }

  async #seal(trace: RunManifest['trace']): Promise<void> {
    const { options, config, folder, state, ctx } = this.#parts;
    await state.saved;
    const differences = await this.#compare();
    const hasEnd = state.manifest.marks.some((mark) => mark.label === 'end');
    if (config.records && !hasEnd) {
      const text = "the guest's disk could not be marked at the end: there is no truth for `end`";
      ctx.log.warn(text);
      state.problem(text);
    }
    if (trace.tornBytes > 0) state.problem(`the record ends in an unfinished sub-buffer of ${trace.tornBytes} bytes`);
    const whole = trace.tornBytes === 0;
    await state.save({
      ...(options.witness === undefined ? {} : { witness: await readWitnessFile(folder.witnessFile) }),
      ...(await this.#kernelReports()),
      state: whole ? 'complete' : 'torn',
      trace,
      // Not interruptible: the run is complete, and an interrupt must not make it less.
      disk: { sha256: await sha256FileCached(folder.diskFile, ctx.cacheDir) },
      seconds: { ...state.manifest.seconds, total: this.#totalSeconds() },
    });
    if (differences.length > 0) {
      throw new LabError(
        'LAB_DIFFERENCE',
        `run '${folder.name}': what came by the relay and by the socket differs: ${differences.slice(0, 3).join('; ')}`,
        { next: `all differences are in ${folder.manifestFile}` },
      );
    }
    if (!whole) {
      throw new LabError(
        'LAB_RUN_TORN',
        `run '${folder.name}': the guest shut down in order, but its record ends in a sub-buffer cut after ${trace.tornBytes} bytes`,
      );
    }
  }

  /** Ends the guest, keeps what arrived, and says how far it came. */
  async #fail(error: unknown): Promise<unknown> {
    const guest = this.#guest;
    const { config, folder, state, ctx } = this.#parts;
    // Read before our own `quit` changes it: a QEMU that was killed by somebody else.
    if (guest !== undefined) {
      const dump = await this.#saveMemory(guest);
      await guest.machine.noteDiskQueues();
      await guest.machine.quit();
      await guest.settle();
      if (dump !== undefined) await this.#recover(dump);
    }
    const { trace } = state.manifest;
    const up = state.manifest.seconds.boot !== null;
    const started = config.records ? state.manifest.checkpoints.length > 0 && (up || trace.subbufs > 0) : up;
    state.problem(messageOf(error));
    try {
      await state.releaseRoom();
      await state.save({
        ...(await this.#kernelReports()),
        state: started ? 'torn' : 'failed',
        seconds: { ...state.manifest.seconds, total: this.#totalSeconds() },
      });
      await this.#chain?.close();
    } catch (saveError) {
      ctx.log.error(`run.json could not be written or the chain not be closed: ${messageOf(saveError)}`);
    }
    if (!started) return error;
    const kept = `run '${folder.name}' is torn; ${trace.subbufs} sub-buffers (${trace.bytes} bytes) arrived and are usable${
      trace.tornBytes > 0 ? `, the last ${trace.tornBytes} bytes are an unfinished one` : ''
    }`;
    if (error instanceof LabError && error.code === 'LAB_VM_EXITED') {
      return new LabError('LAB_RUN_TORN', `${kept}. ${error.message}`, {
        cause: error.cause,
        ...(config.records
          ? { next: `./lemona reconstruct ${folder.name} --at end --output FILE rebuilds up to its last event` }
          : {}),
      });
    }
    ctx.log.warn(kept);
    return error;
  }

  /** The memory of a guest that crashed, or went off before its time: what it had not sent is still there. */
  async #saveMemory({ machine }: Guest): Promise<string | undefined> {
    const { folder, state } = this.#parts;
    if (!machine.hasEnded || machine.qmp.state !== 'ready') return undefined;
    const dump = path.join(folder.dir, MEMORY_FILE);
    try {
      await machine.dumpMemory(dump);
      return dump;
    } catch (error) {
      state.problem(`the guest's memory could not be read: ${messageOf(error)}`);
      await rm(dump, { force: true });
      return undefined;
    }
  }

  /** Appends to the segments what is only in that memory. */
  async #recover(dump: string): Promise<void> {
    const { folder, state } = this.#parts;
    const onSealed = async (segment: SealedSegment, name: SegmentFolder) => this.#chain?.segment(segment, name);
    try {
      await recoverRelics(dump, folder, onSealed, (what, { subbufs, bytes }) => {
        const told = `${subbufs} sub-buffers (${bytes} bytes)`;
        if (what === 'whole') {
          const use = 'merge uses them for what the other servers lack';
          state.problem(`${told} of which this run's server has a part were there whole: ${use}`);
          return;
        }
        const { trace } = state.manifest;
        state.set({ trace: { ...trace, subbufs: trace.subbufs + subbufs, bytes: trace.bytes + bytes } });
        state.problem(`${told} were recovered from the guest's memory`);
      });
    } catch (error) {
      state.problem(`recovering the record from the guest's memory failed: ${messageOf(error)}`);
    } finally {
      if (this.#parts.options.keepsMemory !== true) await rm(dump, { force: true });
    }
  }

  #totalSeconds(): number {
    return roundSeconds((performance.now() - this.#startedMs) / 1000);
  }
}
