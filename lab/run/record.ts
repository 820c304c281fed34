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
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough, type Readable, type Writable } from 'node:stream';
import { text as collectText } from 'node:stream/consumers';
import { EvidenceChain } from '../evidence/chain.js';
import { serveMarks } from '../link/mark.js';
import { type TracePace, TraceReceiver, type TraceTotals } from '../link/receiver.js';
import { compareStreams } from '../trace/compare-streams.js';
import { SegmentWriter, type SegmentWriterOptions } from '../trace/segment-writer.js';
import type { LabContext } from '../util/context.js';
import { withDeadline } from '../util/deadline.js';
import { ioError, LabError, messageOf, throwIfAborted } from '../util/errors.js';
import { type AcceleratorChoice, chooseAccelerator } from '../vm/accel.js';
import { CtlClient } from '../vm/ctl.js';
import type { KernelReport } from '../vm/kernel-reports.js';
import { Machine, type MachineSpec } from '../vm/machine.js';
import { type Accelerator, NETWORK_KERNEL_ARGS, type PluginSpec, serverAddress } from '../vm/qemu-args.js';
import { bootsAgain, failedBootProblem } from './boot-again.js';
import { ASK_CHECKERS, answersOf, CHECKERS_KERNEL_ARGS, reportsOnConsole } from './checkers.js';
import { DEFAULT_MEMORY_MIB, DEFAULT_SMP, findConfig, type RunConfig } from './configs.js';
import { type CopyIn, checkCopyIn, copyIn } from './copy-in.js';
import { sha256File, sha256FileCached } from './digest.js';
import { createOverlay } from './disk.js';
import { createRunFolder, keepFailedBoot, type RunFolder } from './folder.js';
import { type RunManifest, writeAtomically, writeManifest } from './manifest.js';
import { MarkTaker } from './marks.js';
import { recoverRelics } from './recover.js';
import {
  listenForGuest,
  MACHINE,
  type SocketReceiver,
  type SocketReceiverOptions,
  type SocketTotals,
} from './socket-receiver.js';
import { readWitnessFile, type WitnessParts } from './witness.js';

/** What `buildKernel` returns, as far as a run needs it. */
export interface KernelArtifact {
  readonly flavour: RunManifest['flavour'];
  readonly digest: string;
  readonly release: string;
  readonly bzImage: string;
  readonly systemMap: string;
}

/** What `buildImage` returns, as far as a run needs it. */
export interface ImageArtifact {
  readonly kind: string;
  readonly digest: string;
  readonly raw: string;
}

export interface RecordOptions {
  /** Folder of the run; its last component is the run's name. */
  readonly runDir: string;
  readonly config: string;
  readonly kernel: KernelArtifact;
  readonly image: ImageArtifact;
  /** Path of the initramfs of role `record`. */
  readonly initramfs: string;
  readonly command: readonly [string, ...string[]];
  readonly copyIn?: readonly CopyIn[];
  readonly smp?: number;
  readonly memoryMiB?: number;
  /** Bounds the command alone; it then ends with status 124. */
  readonly timeoutMs?: number;
  readonly bootTimeoutMs?: number;
  readonly kernelArgs?: readonly string[];
  readonly qemuArgs?: readonly string[];
  /** Count system calls outside the guest; emulates, whatever the host could do. */
  readonly witness?: WitnessParts;
  /** Another plugin of the emulator instead; it emulates too. */
  readonly plugin?: PluginSpec;
  /** Replace a run of that name. */
  readonly force?: boolean;
  /** Takes the answer instead of finding it out. */
  readonly accelerator?: Accelerator;
  readonly stdin?: Readable;
  readonly stdout?: Writable;
  readonly stderr?: Writable;
  /** Awaited when QEMU is there and the guest does not run yet; tests use it to do harm. */
  readonly onMachine?: (machine: Machine) => void | Promise<void>;
  /** Slows the taking of the record down; tests use it to be a slow host. */
  readonly tracePace?: TracePace;
  /** Who takes what the socket backend sends; tests put their own in place of the run's. */
  readonly listenForGuest?: (options: SocketReceiverOptions) => Promise<SocketReceiver>;
  /** Ports of the loopback with further servers, to which the guest has the same key. */
  readonly moreServers?: readonly number[];
}

export interface RecordResult {
  readonly runDir: string;
  readonly manifest: RunManifest;
  /** Of the command; 124 if the timeout ended it. */
  readonly exitStatus: number;
  readonly timedOut: boolean;
}

/** An emulated debug kernel takes most of a minute. */
const BOOT_TIMEOUT_MS = 180_000;
/** Freeze, sync, snapshot. */
const CHECKPOINT_TIMEOUT_MS = 120_000;
/** A guest that shuts down without sending anything for this long is stuck; one that still drains is not. */
const SHUTDOWN_IDLE_MS = 120_000;
const POWER_OFF_TIMEOUT_MS = 30_000;
/** As timeout(1): TERM first, KILL if that does not help. */
const TIMEOUT_KILL_MS = 5_000;
const TIMEOUT_STATUS = 124;
/** Room for a run.json with more than a thousand marks. */
const RESERVE_BYTES = 256 * 1024;
/** Said once a run. */
const DISK_FAILED = "the guest's disk failed, and the guest was told";
const SIGTERM = 15;
const SIGKILL = 9;

/** Boots a traced guest, runs the command in it, and leaves a complete record; throws if the record is not complete. */
export async function recordRun(options: RecordOptions, ctx: LabContext): Promise<RecordResult> {
  const config = findConfig(options.config);
  checkKernel(config, options.kernel);
  checkNumbers(options);
  checkWitness(config, options);
  await checkCopyIn(options.copyIn ?? []);
  const folder = await createRunFolder(options.runDir, options.force ?? false);
  const problems: string[] = [];
  for (let attempt = 1; ; attempt++) {
    const recording = new Recording(options, config, folder, problems, ctx);
    try {
      return await recording.run();
    } catch (error) {
      const boot = { attempt, hasBooted: recording.hasBooted, error };
      if (!bootsAgain(boot)) throw error;
      const problem = failedBootProblem(boot, await keepFailedBoot(folder, attempt));
      problems.push(problem);
      ctx.log.warn(problem);
    }
  }
}

function checkKernel(config: RunConfig & { readonly name: string }, kernel: KernelArtifact): void {
  const fits: Record<RunConfig['flavour'], readonly KernelArtifact['flavour'][]> = {
    n: ['n', 'vanilla'],
    m: ['m', 'debug-m'],
    y: ['y', 'debug'],
  };
  if (!fits[config.flavour].includes(kernel.flavour)) {
    throw new LabError(
      'LAB_USAGE',
      `configuration '${config.name}' needs a kernel of flavour '${config.flavour}', this one is '${kernel.flavour}'`,
    );
  }
}

function checkNumbers(options: RecordOptions): void {
  const { smp = DEFAULT_SMP, memoryMiB = DEFAULT_MEMORY_MIB } = options;
  if (!Number.isInteger(smp) || smp < 1 || smp > 64) throw new LabError('LAB_USAGE', `--smp ${smp}: wanted 1 to 64`);
  if (!Number.isInteger(memoryMiB) || memoryMiB < 128)
    throw new LabError('LAB_USAGE', `--memory ${memoryMiB}: wanted at least 128 MiB`);
}

/** Before anything is built for it. */
export function checkWitnessed(config: RunConfig & { readonly name: string }): void {
  if (!config.records)
    throw new LabError('LAB_USAGE', `--witness: configuration '${config.name}' keeps no record to compare with`);
}

function checkWitness(config: RunConfig & { readonly name: string }, options: RecordOptions): void {
  if (options.witness === undefined) return;
  checkWitnessed(config);
  if (options.accelerator === 'kvm') {
    throw new LabError('LAB_USAGE', '--witness: it is a plugin of the emulator (TCG), and KVM was asked for');
  }
}

/** How the parts of a booted guest hang together. */
interface Guest {
  readonly machine: Machine;
  readonly ctl: CtlClient;
  /** What comes through the trace port: nothing, if the configuration has no relay. */
  readonly receiver: TraceReceiver;
  readonly socket: SocketReceiver | undefined;
  readonly marksServed: Promise<void>;
}

/** What the driver is told by the kernel's command line; as a module it gets the same from init. */
function driverArgs(config: RunConfig, moreServers: readonly number[]): string[] {
  return [
    ...(config.flavour === 'y' ? ['lemona.start=1'] : []),
    ...(config.socket
      ? [
          ...NETWORK_KERNEL_ARGS,
          `lemona.server=${[0, ...moreServers].map((_port, index) => serverAddress(index)).join(',')}`,
          `lemona.machine=${MACHINE}`,
          `lemona.socket=${config.encrypted ? 'noise' : 'plain'}`,
          `lemona.relay=${config.relay ? 1 : 0}`,
        ]
      : []),
  ];
}

class Recording {
  readonly #options: RecordOptions;
  readonly #config: RunConfig & { readonly name: string };
  readonly #folder: RunFolder;
  readonly #ctx: LabContext;
  /** Ends every wait: an interrupt, a receiver that failed, a full disk. */
  readonly #stop = new AbortController();
  readonly #startedMs = performance.now();
  #manifest: RunManifest;
  #saving: Promise<void> = Promise.resolve();
  #marks: MarkTaker | undefined;
  #answers: readonly KernelReport[] = [];
  #chain: EvidenceChain | undefined;

  constructor(
    options: RecordOptions,
    config: RunConfig & { readonly name: string },
    folder: RunFolder,
    problems: readonly string[],
    ctx: LabContext,
  ) {
    this.#options = options;
    this.#config = config;
    this.#folder = folder;
    this.#ctx = ctx;
    this.#manifest = {
      format: 1,
      name: folder.name,
      created: new Date().toISOString(),
      state: 'recording',
      config: config.name,
      flavour: options.kernel.flavour,
      kernel: {
        digest: options.kernel.digest,
        release: options.kernel.release,
        bzImage: path.resolve(options.kernel.bzImage),
      },
      image: { kind: options.image.kind, digest: options.image.digest, raw: path.resolve(options.image.raw) },
      initramfs: { sha256: '0'.repeat(64) },
      smp: options.smp ?? DEFAULT_SMP,
      memoryMiB: options.memoryMiB ?? DEFAULT_MEMORY_MIB,
      kernelArgs: [...(this.#hasCheckers ? CHECKERS_KERNEL_ARGS : []), ...(options.kernelArgs ?? [])],
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

  /** The guest said hello: from here on its disk may have changed. */
  get hasBooted(): boolean {
    return this.#manifest.seconds.boot !== null;
  }

  async run(): Promise<RecordResult> {
    const { signal } = this.#ctx;
    const onAbort = () => this.#stop.abort(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    if (signal.aborted) onAbort();
    let guest: Guest | undefined;
    try {
      await this.#prepare();
      await this.#checkpointBeforeBoot();
      guest = await this.#boot();
      await this.#checkpointLive(guest);
      for (const copy of this.#options.copyIn ?? []) {
        await this.#step(
          `copying ${copy.source} into the guest`,
          copyIn(copy, guest.ctl, this.#guardOf(guest, Number.POSITIVE_INFINITY)),
        );
      }
      await this.#command(guest);
      if (this.#hasCheckers) await this.#step("asking for the kernel's own reports", this.#askCheckers(guest));
      await this.#step('shutting the guest down', this.#shutDown(guest));
      const totals = await this.#finish(guest);
      await this.#seal(totals);
    } catch (error) {
      throw await this.#fail(error, guest);
    } finally {
      signal.removeEventListener('abort', onAbort);
      await rm(this.#reserve, { force: true });
    }
    // Outside: a run whose chain can't be closed is complete all the same.
    await this.#chain?.close();
    const { exitStatus, timedOut } = this.#manifest;
    return { runDir: this.#folder.dir, manifest: this.#manifest, exitStatus: exitStatus ?? TIMEOUT_STATUS, timedOut };
  }

  async #prepare(): Promise<void> {
    try {
      await writeFile(this.#reserve, Buffer.alloc(RESERVE_BYTES));
    } catch (error) {
      throw ioError(`making ${this.#reserve}`, error);
    }
    await this.#save({ initramfs: { sha256: await sha256File(this.#options.initramfs) } });
    this.#chain = await EvidenceChain.open(
      {
        dir: this.#folder.dir,
        dataDir: this.#ctx.dataDir,
        // The disk's digest is known from run.json by then.
        digest: (file) =>
          file === this.#folder.diskFile ? sha256FileCached(file, this.#ctx.cacheDir) : sha256File(file),
      },
      this.#folder.name,
    );
    throwIfAborted(this.#stop.signal, 'recording');
    await createOverlay(this.#options.image.raw, this.#folder.diskFile, this.#stop.signal);
    const choice = await this.#accelerator();
    await this.#save({ accelerator: choice.accelerator, acceleratorWhy: choice.why });
  }

  async #accelerator(): Promise<AcceleratorChoice> {
    const { accelerator, witness, kernel, initramfs, image } = this.#options;
    if (accelerator !== undefined) return { accelerator, why: 'asked for' };
    if (witness !== undefined) return { accelerator: 'tcg', why: 'the witness is a plugin of the emulator' };
    return chooseAccelerator(
      { digest: kernel.digest, kernel: kernel.bzImage, initrd: initramfs, rootRaw: image.raw },
      { log: this.#ctx.log, cacheDir: this.#ctx.cacheDir, signal: this.#stop.signal },
    );
  }

  async #boot(): Promise<Guest> {
    const { moreServers = [] } = this.#options;
    const step = this.#ctx.progress.step('booting the guest');
    const bootedFromMs = performance.now();
    let guest: Guest | undefined;
    let socket: SocketReceiver | undefined;
    try {
      socket = await this.#listen();
      const machine = await Machine.launch(
        {
          name: `lemona-${this.#folder.name}`,
          accelerator: this.#manifest.accelerator ?? 'tcg',
          smp: this.#manifest.smp,
          patchesRunningCode: this.#config.flavour === 'm' && this.#config.records,
          memoryMiB: this.#manifest.memoryMiB,
          keepsMemory: this.#config.records,
          kernel: this.#manifest.kernel.bzImage,
          initrd: path.resolve(this.#options.initramfs),
          append: [...driverArgs(this.#config, moreServers), ...this.#manifest.kernelArgs],
          disks: [{ nodeName: 'disk0', path: this.#folder.diskFile, format: 'qcow2' }],
          ports: ['lemona.ctl', 'lemona.trace', 'lemona.mark', ...(socket === undefined ? [] : ['lemona.key'])],
          ...(socket === undefined ? {} : { network: { hostPorts: [socket.port, ...moreServers] } }),
          logFolder: this.#folder.dir,
          ...this.#plugin(),
          extraArgs: this.#manifest.qemuArgs,
        },
        { log: this.#ctx.log, signal: this.#stop.signal },
      );
      guest = await this.#attach(machine, socket);
      await this.#options.onMachine?.(machine);
      await this.#save({ qemuVersion: machine.qemuVersion });
      await machine.start();
      const hello = await this.#guardOf(
        guest,
        this.#options.bootTimeoutMs ?? BOOT_TIMEOUT_MS,
        'LAB_VM_NO_HELLO',
      )(guest.ctl.hello, "the guest's hello");
      const bootSeconds = (performance.now() - bootedFromMs) / 1000;
      this.#checkHello(hello, guest);
      await this.#save({ seconds: { ...this.#manifest.seconds, boot: round(bootSeconds) } });
      step.done(
        `${hello.get('kernel') ?? 'unknown kernel'} up in ${bootSeconds.toFixed(1)} s under ${this.#manifest.accelerator}`,
      );
      return guest;
    } catch (error) {
      step.fail();
      await guest?.machine.quit();
      if (guest !== undefined) await this.#settle(guest);
      else await socket?.close();
      throw error;
    }
  }

  #plugin(): Pick<MachineSpec, 'plugin'> {
    const { witness, plugin } = this.#options;
    if (plugin !== undefined) return { plugin };
    if (witness === undefined) return {};
    return { plugin: { file: witness.plugin, args: { counts: this.#folder.witnessFile, ...witness.entryPoints } } };
  }

  /** Whatever is sealed, by whatever way it came, is in the chain. */
  readonly #onSealed: OnSealed = async (segment) => this.#chain?.segment(segment);
  readonly #onSocketSealed: OnSealed = async (segment) => this.#chain?.segment(segment, 'segments-socket');

  /** The server of the socket backend, if the configuration has one. */
  async #listen(): Promise<SocketReceiver | undefined> {
    const { relay, socket, encrypted } = this.#config;
    if (!socket) return undefined;
    const receiver = await (this.#options.listenForGuest ?? listenForGuest)({
      ...(relay
        ? { folder: this.#folder.socketSegmentsDir, onSealed: this.#onSocketSealed }
        : { folder: this.#folder.segmentsDir, onSealed: this.#onSealed }),
      isEncrypted: encrypted,
      onEvent: (event) =>
        this.#ctx.log.debug(`socket: ${event.event}${event.why === undefined ? '' : `: ${event.why}`}`),
    });
    receiver.ended.catch((error: unknown) => this.#stop.abort(error));
    return receiver;
  }

  async #attach(machine: Machine, socket: SocketReceiver | undefined): Promise<Guest> {
    const writer = await SegmentWriter.create({
      folder: this.#folder.segmentsDir,
      now: () => BigInt(Date.now()) * 1_000_000n,
      onSealed: this.#onSealed,
    });
    const receiver = new TraceReceiver(
      machine.port('lemona.trace'),
      writer,
      this.#folder.segmentsDir,
      this.#options.tracePace,
    );
    receiver.done.catch((error: unknown) => this.#stop.abort(error));
    const marks = new MarkTaker(machine.qmp, 'disk0', async (mark) => {
      // The checkpoint is no mark to verify at: nothing was replayed before it.
      if (mark.label !== 'start') await this.#save({ marks: [...this.#manifest.marks, mark] });
      this.#ctx.log.debug(`mark ${mark.label} at ${mark.seq}`);
    });
    this.#marks = marks;
    const marksServed = serveMarks(machine.port('lemona.mark'), async (request) => {
      try {
        await marks.take(request);
      } catch (error) {
        if (error instanceof LabError && error.code === 'LAB_ENV_DISK_FULL') this.#stop.abort(error);
        throw error;
      }
    });
    const ctl = new CtlClient(machine.port('lemona.ctl'));
    ctl.onProblem((text) => {
      this.#ctx.log.warn(`guest: ${text}`);
      this.#problem(`guest: ${text}`);
      // Even after the mark itself: without a forwarder nothing of the record would leave the guest.
      if (text.startsWith('checkpoint:')) {
        this.#stop.abort(machine.failure('LAB_GUEST_PROBLEM', `the guest could not start recording: ${text}`));
      }
    });
    machine.qmp.onEvent(({ event, data }) => {
      // QEMU pauses the guest when the host's disk is full; nobody would wake it again. Other errors it reports to the
      // guest, which goes on with a disk that fails, as it would without us.
      if (event === 'BLOCK_IO_ERROR' && data.action === 'report') {
        if (this.#manifest.problems.some((problem) => problem.includes(DISK_FAILED))) return;
        this.#ctx.log.warn(`${DISK_FAILED}: ${String(data.operation)}: ${String(data.reason)}`);
        this.#problem(`${DISK_FAILED}: ${String(data.operation)}: ${String(data.reason)}`);
      } else if (event === 'BLOCK_IO_ERROR') {
        this.#stop.abort(
          data.nospace === true
            ? new LabError('LAB_ENV_DISK_FULL', "the guest's disk could not grow: no space left on the host's disk", {
                next: 'free some space, or choose another folder with --runs',
              })
            : new LabError('LAB_ENV_IO', `the guest's disk failed: ${String(data.reason)}`),
        );
      }
    });
    // On no command line, where everybody could read it. QEMU keeps it until the guest opens the port.
    if (socket !== undefined) machine.port('lemona.key').write(`${socket.key.toString('hex')}\n`);
    return { machine, ctl, receiver, socket, marksServed };
  }

  #checkHello(hello: ReadonlyMap<string, string>, guest: Guest): void {
    const problem = guest.ctl.problems.at(-1);
    const told = problem === undefined ? '' : `: ${problem}`;
    const fail = (message: string) => guest.machine.failure('LAB_GUEST_PROBLEM', `${message}${told}`);
    if (hello.get('root') === 'none') throw fail('the guest could not mount its root file system');
    if (!this.#config.records || this.#config.flavour !== 'y') return;
    const wants = `configuration '${this.#config.name}' wants the driver built in`;
    if (hello.get('lemona') === 'no') throw fail(`${wants}, but the guest has no /dev/lemona`);
    if (this.#config.relay && hello.get('forwarder') === 'no') throw fail(`${wants}, but nothing forwards its records`);
    if (this.#config.socket && hello.get('key') === 'no') throw fail(`${wants}, but nobody gave it its key`);
  }

  /** A static build records from its first instruction: its checkpoint is the image, known before power-on. */
  async #checkpointBeforeBoot(): Promise<void> {
    if (this.#config.records && this.#config.flavour === 'y') await this.#addCheckpoint('0', null);
  }

  /** A module starts under a frozen file system; the guest asks for the snapshot through the mark port. */
  async #checkpointLive(guest: Guest): Promise<void> {
    if (!this.#config.records || this.#config.flavour === 'y') return;
    const taken = this.#taker.expect('start');
    guest.ctl.checkpoint();
    const guard = this.#guardOf(guest, CHECKPOINT_TIMEOUT_MS);
    const mark = await this.#step('taking the checkpoint', guard(taken, 'the checkpoint'));
    await this.#addCheckpoint(mark.seq, mark.snapshot);
  }

  async #addCheckpoint(seq: string, snapshot: string | null): Promise<void> {
    const sha256 = await sha256FileCached(this.#manifest.image.raw, this.#ctx.cacheDir, this.#stop.signal);
    const entry = { name: 'start', seq, snapshot, sha256 };
    const file = path.join(this.#folder.checkpointsDir, `${entry.name}.json`);
    await writeAtomically(file, `${JSON.stringify(entry, null, 2)}\n`);
    await this.#save({ checkpoints: [...this.#manifest.checkpoints, entry] });
  }

  async #command(guest: Guest): Promise<void> {
    const startedMs = performance.now();
    const { stdin, stdout, stderr, timeoutMs } = this.#options;
    const command = guest.ctl.run(this.#options.command, {
      ...(stdin === undefined ? {} : { stdin }),
      ...(stdout === undefined ? {} : { stdout }),
      ...(stderr === undefined ? {} : { stderr }),
    });
    const guard = this.#guardOf(guest, Number.POSITIVE_INFINITY);
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
      if (timedOut) this.#ctx.log.warn(`the command was ended: it ran longer than ${(timeoutMs ?? 0) / 1000} s`);
      await this.#save({
        exitStatus: timedOut ? TIMEOUT_STATUS : status,
        timedOut,
        seconds: { ...this.#manifest.seconds, command: round((performance.now() - startedMs) / 1000) },
      });
    } finally {
      clearTimeout(termTimer);
      clearTimeout(killTimer);
    }
  }

  get #hasCheckers(): boolean {
    return this.#options.kernel.flavour.startsWith('debug');
  }

  async #askCheckers(guest: Guest): Promise<void> {
    const stdout = new PassThrough();
    const text = collectText(stdout);
    const { status } = guest.ctl.run(ASK_CHECKERS, { stdout, stderr: stdout });
    const code = await this.#guardOf(guest, Number.POSITIVE_INFINITY)(status, "the kernel's own reports");
    stdout.end();
    this.#answers = answersOf(await text, code);
  }

  /** Of a debug flavour: what its checkers found, up to its end. */
  async #kernelReports(): Promise<Pick<RunManifest, 'kernelReports'>> {
    if (!this.#hasCheckers) return {};
    return { kernelReports: [...(await reportsOnConsole(this.#folder.consoleLog)), ...this.#answers] };
  }

  /** Waits for the guest's Z; as long as trace still flows, it is draining and not stuck. */
  async #shutDown(guest: Guest): Promise<void> {
    const { machine, ctl, receiver, socket } = guest;
    this.#taker.allow('end');
    // The guest powers off only when we have what it sent: nothing may be on its way when QEMU ends.
    const off = ctl.shutDown().then(async (sentBytes) => {
      await receiver.received(sentBytes);
      await socket?.ended;
      ctl.powerOff();
    });
    const received = () => receiver.receivedBytes + (socket?.receivedBytes ?? 0);
    for (;;) {
      const before = received();
      try {
        await machine.guard(off, {
          label: "the guest's shutdown",
          timeoutMs: SHUTDOWN_IDLE_MS,
          signal: this.#stop.signal,
        });
        break;
      } catch (error) {
        const timedOut = error instanceof LabError && error.code === 'LAB_TIMEOUT';
        if (!timedOut || received() === before) throw error;
      }
    }
    await withDeadline(machine.off, {
      label: 'the end of a guest that said it would power off',
      timeoutMs: POWER_OFF_TIMEOUT_MS,
      signal: this.#stop.signal,
    });
  }

  /** After the guest's end: everything that is in the sockets is read, then the segments are sealed. */
  async #finish(guest: Guest): Promise<RecordTotals> {
    await guest.machine.quit();
    const totals = await guest.receiver.done;
    await guest.socket?.close();
    await guest.marksServed;
    return this.#totalsOf(guest, totals);
  }

  /** Of the way by which the record in `segments/` came. */
  #totalsOf({ socket }: Guest, relay: TraceTotals): RecordTotals {
    return socket === undefined || this.#config.relay ? relay : { ...socket.totals, tornBytes: 0 };
  }

  /** A record that came by two ways must be the same one. */
  async #compare(): Promise<readonly string[]> {
    const { relay, socket } = this.#config;
    if (!relay || !socket) return [];
    const { segmentsDir, socketSegmentsDir } = this.#folder;
    const { same, afterEnd, differences } = await compareStreams(segmentsDir, socketSegmentsDir, true);
    this.#manifest = { ...this.#manifest, bothWays: { same, afterEnd } };
    this.#ctx.log.info(
      `relay and socket: ${same} sub-buffers are the same, ${differences.length} differences, ` +
        `${afterEnd} of the relay alone after the end of the record`,
    );
    for (const difference of differences) this.#problem(`relay and socket: ${difference}`);
    return differences;
  }

  async #seal(totals: RecordTotals): Promise<void> {
    await this.#saving;
    const differences = await this.#compare();
    const hasEnd = this.#manifest.marks.some((mark) => mark.label === 'end');
    if (this.#config.records && !hasEnd) {
      const text = "the guest's disk could not be marked at the end: there is no truth for `end`";
      this.#ctx.log.warn(text);
      this.#problem(text);
    }
    if (totals.tornBytes > 0) this.#problem(`the record ends in an unfinished sub-buffer of ${totals.tornBytes} bytes`);
    const whole = totals.tornBytes === 0;
    await this.#save({
      ...(this.#options.witness === undefined ? {} : { witness: await readWitnessFile(this.#folder.witnessFile) }),
      ...(await this.#kernelReports()),
      state: whole ? 'complete' : 'torn',
      trace: traceOf(totals),
      // Not interruptible: the run is complete, and an interrupt must not make it less.
      disk: { sha256: await sha256FileCached(this.#folder.diskFile, this.#ctx.cacheDir) },
      seconds: { ...this.#manifest.seconds, total: this.#totalSeconds() },
    });
    if (differences.length > 0) {
      throw new LabError(
        'LAB_DIFFERENCE',
        `run '${this.#folder.name}': what came by the relay and by the socket differs: ${differences.slice(0, 3).join('; ')}`,
        { next: `all differences are in ${this.#folder.manifestFile}` },
      );
    }
    if (!whole) {
      throw new LabError(
        'LAB_RUN_TORN',
        `run '${this.#folder.name}': the guest shut down in order, but its record ends in a sub-buffer cut after ${totals.tornBytes} bytes`,
      );
    }
  }

  /** Ends the guest, keeps what arrived, and says how far it came. */
  async #fail(error: unknown, guest: Guest | undefined): Promise<unknown> {
    // Read before our own `quit` changes it: a QEMU that was killed by somebody else.
    if (guest !== undefined) {
      const dump = await this.#saveMemory(guest);
      await guest.machine.quit();
      await this.#settle(guest);
      if (dump !== undefined) await this.#recover(dump);
    }
    const totals = this.#manifest.trace;
    const up = this.#manifest.seconds.boot !== null;
    const started = this.#config.records ? this.#manifest.checkpoints.length > 0 && (up || totals.subbufs > 0) : up;
    this.#problem(messageOf(error));
    try {
      await rm(this.#reserve, { force: true });
      await this.#save({
        ...(await this.#kernelReports()),
        state: started ? 'torn' : 'failed',
        seconds: { ...this.#manifest.seconds, total: this.#totalSeconds() },
      });
      await this.#chain?.close();
    } catch (saveError) {
      this.#ctx.log.error(`run.json could not be written or the chain not be closed: ${messageOf(saveError)}`);
    }
    if (!started) return error;
    const kept = `run '${this.#folder.name}' is torn; ${totals.subbufs} sub-buffers (${totals.bytes} bytes) arrived and are usable${
      totals.tornBytes > 0 ? `, the last ${totals.tornBytes} bytes are an unfinished one` : ''
    }`;
    if (error instanceof LabError && error.code === 'LAB_VM_EXITED') {
      return new LabError('LAB_RUN_TORN', `${kept}. ${error.message}`, {
        cause: error.cause,
        ...(this.#config.records
          ? { next: `./lemona reconstruct ${this.#folder.name} --at end --output FILE rebuilds up to its last event` }
          : {}),
      });
    }
    this.#ctx.log.warn(kept);
    return error;
  }

  /** The memory of a guest whose kernel crashed: what it had not sent is still there. */
  async #saveMemory({ machine }: Guest): Promise<string | undefined> {
    if (machine.console.crash === undefined || machine.qmp.state !== 'ready') return undefined;
    const dump = path.join(this.#folder.dir, 'memory.elf');
    try {
      await machine.dumpMemory(dump);
      return dump;
    } catch (error) {
      this.#problem(`the crashed guest's memory could not be read: ${messageOf(error)}`);
      await rm(dump, { force: true });
      return undefined;
    }
  }

  /** Appends to the segments what is only in that memory. */
  async #recover(dump: string): Promise<void> {
    try {
      const { subbufs, bytes } = await recoverRelics(dump, {
        folder: this.#folder.segmentsDir,
        onSealed: this.#onSealed,
      });
      const { trace } = this.#manifest;
      this.#manifest = {
        ...this.#manifest,
        trace: { ...trace, subbufs: trace.subbufs + subbufs, bytes: trace.bytes + bytes },
      };
      this.#problem(`${subbufs} sub-buffers (${bytes} bytes) were recovered from the crashed guest's memory`);
    } catch (error) {
      this.#problem(`recovering the record from the crashed guest's memory failed: ${messageOf(error)}`);
    } finally {
      await rm(dump, { force: true });
    }
  }

  /** Lets receiver and mark port come to their ends, and notes what the receiver has. */
  async #settle(guest: Guest): Promise<void> {
    await guest.receiver.done.catch((error: unknown) => this.#problem(messageOf(error)));
    await guest.socket?.close();
    await guest.marksServed;
    this.#manifest = { ...this.#manifest, trace: traceOf(this.#totalsOf(guest, guest.receiver.totals)) };
  }

  /** On a full disk, its room is what the last run.json is written into. */
  get #reserve(): string {
    return `${this.#folder.manifestFile}.reserve`;
  }

  get #taker(): MarkTaker {
    if (this.#marks === undefined) throw new LabError('LAB_BUG', 'record: marks are used before the guest is attached');
    return this.#marks;
  }

  #guardOf(guest: Guest, timeoutMs: number, code: 'LAB_TIMEOUT' | 'LAB_VM_NO_HELLO' = 'LAB_TIMEOUT') {
    return <T>(work: Promise<T>, label: string): Promise<T> =>
      guest.machine.guard(work, {
        label,
        timeoutMs,
        code,
        signal: this.#stop.signal,
        lastSeen: () => guest.ctl.problems.at(-1) ?? '',
      });
  }

  async #step<T>(title: string, work: Promise<T>): Promise<T> {
    const step = this.#ctx.progress.step(title);
    try {
      const value = await work;
      step.done();
      return value;
    } catch (error) {
      step.fail();
      throw error;
    }
  }

  #totalSeconds(): number {
    return round((performance.now() - this.#startedMs) / 1000);
  }

  #problem(text: string): void {
    // A guest that complains for ever must not make run.json grow without end.
    if (this.#manifest.problems.length < 100)
      this.#manifest = { ...this.#manifest, problems: [...this.#manifest.problems, text] };
  }

  /** Changes run.json; writes follow one another. */
  #save(change: Partial<RunManifest>): Promise<void> {
    this.#manifest = { ...this.#manifest, ...change };
    const write = this.#saving.catch(() => {}).then(() => writeManifest(this.#folder.manifestFile, this.#manifest));
    this.#saving = write;
    write.catch(() => {});
    return write;
  }
}

type OnSealed = NonNullable<SegmentWriterOptions['onSealed']>;
type RecordTotals = SocketTotals & Pick<TraceTotals, 'tornBytes'>;

function traceOf(totals: RecordTotals): RunManifest['trace'] {
  return { segments: totals.segments, bytes: totals.bytes, subbufs: totals.subbufs, tornBytes: totals.tornBytes };
}

function round(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}
