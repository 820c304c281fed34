// SPDX-License-Identifier: MIT
/** The guest of a recording: QEMU with all that hangs on its ports, from launch to the end of what it sent. */
import path from 'node:path';
import { serveMarks } from '../link/mark.js';
import { TraceReceiver, type TraceTotals } from '../link/receiver.js';
import { SegmentWriter, type SegmentWriterOptions } from '../trace/segment-writer.js';
import type { LabContext } from '../util/context.js';
import { LabError, messageOf } from '../util/errors.js';
import { CtlClient } from '../vm/ctl.js';
import { Machine, type MachineSpec } from '../vm/machine.js';
import { NETWORK_KERNEL_ARGS, serverAddress } from '../vm/qemu-args.js';
import type { RunConfig } from './configs.js';
import type { RunFolder } from './folder.js';
import type { RunManifest } from './manifest.js';
import { MarkTaker } from './marks.js';
import type { NamedConfig, RecordOptions } from './record-options.js';
import type { RunState } from './run-state.js';
import { listenForGuest, MACHINE, type SocketReceiver, type SocketTotals } from './socket-receiver.js';

/** An emulated debug kernel takes most of a minute. */
const BOOT_TIMEOUT_MS = 180_000;
/** Said once a run. */
const DISK_FAILED = "the guest's disk failed, and the guest was told";

/** What the parts of one recording share. */
export interface RecordingParts {
  readonly options: RecordOptions;
  readonly config: NamedConfig;
  readonly folder: RunFolder;
  readonly state: RunState;
  readonly ctx: LabContext;
  /** Ends every wait: an interrupt, a receiver that failed, a full disk. */
  readonly stop: AbortController;
  /** Whatever is sealed in `segments/` or `segments-socket/`, by whatever way it came, is in the chain. */
  readonly onSealed: OnSealed;
  readonly onSocketSealed: OnSealed;
}

type OnSealed = NonNullable<SegmentWriterOptions['onSealed']>;
type RecordTotals = SocketTotals & Pick<TraceTotals, 'tornBytes'>;

/** What the driver is told by the kernel's command line; as a module it gets the same from init. */
export function driverArgs(config: RunConfig, moreServers: readonly number[]): string[] {
  return [
    ...(config.flavour === 'y' ? ['lemona.start=1'] : []),
    ...(config.socket
      ? [
          `lemona.server=${[0, ...moreServers].map((_port, index) => serverAddress(index)).join(',')}`,
          `lemona.machine=${MACHINE}`,
          `lemona.socket=${config.encrypted ? 'noise' : 'plain'}`,
          `lemona.relay=${config.relay ? 1 : 0}`,
        ]
      : []),
  ];
}

/** What decides how many threads emulate the guest's CPUs. */
export function threadsOf(
  { flavour, records }: RunConfig,
  { hasOneThread = false }: Pick<RecordOptions, 'hasOneThread'>,
): Pick<MachineSpec, 'patchesRunningCode' | 'hasOneThread'> {
  return { patchesRunningCode: flavour === 'm' && records, hasOneThread };
}

function pluginOf({ options, folder }: RecordingParts): Pick<MachineSpec, 'plugin'> {
  const { witness, plugin } = options;
  if (plugin !== undefined) return { plugin };
  if (witness === undefined) return {};
  return { plugin: { file: witness.plugin, args: { counts: folder.witnessFile, ...witness.entryPoints } } };
}

function machineSpec(parts: RecordingParts, socket: SocketReceiver | undefined): MachineSpec {
  const { options, config, folder, state } = parts;
  const { manifest } = state;
  const { moreServers = [], forwards = [] } = options;
  const hostPorts = socket === undefined ? [] : [socket.port, ...moreServers];
  const hasNetwork = hostPorts.length + forwards.length > 0;
  return {
    name: `lemona-${folder.name}`,
    accelerator: manifest.accelerator ?? 'tcg',
    smp: manifest.smp,
    ...threadsOf(config, options),
    memoryMiB: manifest.memoryMiB,
    keepsMemory: config.records,
    kernel: manifest.kernel.bzImage,
    initrd: path.resolve(options.initramfs),
    append: [...(hasNetwork ? NETWORK_KERNEL_ARGS : []), ...driverArgs(config, moreServers), ...manifest.kernelArgs],
    disks: [{ nodeName: 'disk0', path: folder.diskFile, format: 'qcow2' }],
    ports: ['lemona.ctl', 'lemona.trace', 'lemona.mark', ...(socket === undefined ? [] : ['lemona.key'])],
    ...(hasNetwork ? { network: { hostPorts, forwards } } : {}),
    logFolder: folder.dir,
    ...pluginOf(parts),
    extraArgs: manifest.qemuArgs,
  };
}

/** The server of the socket backend, if the configuration has one. */
async function listen(parts: RecordingParts): Promise<SocketReceiver | undefined> {
  const { options, config, folder, ctx, stop } = parts;
  if (!config.socket) return undefined;
  const { intake } = options;
  if (intake === undefined) throw new LabError('LAB_BUG', `${config.name} needs an intake`);
  const receiver = await (options.listenForGuest ?? listenForGuest)({
    ...(config.relay
      ? { folder: folder.socketSegmentsDir, onSealed: parts.onSocketSealed }
      : { folder: folder.segmentsDir, onSealed: parts.onSealed }),
    isEncrypted: config.encrypted,
    intake,
    onEvent: (event) => ctx.log.debug(`socket: ${event.event}${event.why === undefined ? '' : `: ${event.why}`}`),
  });
  receiver.ended.catch((error: unknown) => stop.abort(error));
  return receiver;
}

export class Guest {
  readonly machine: Machine;
  readonly ctl: CtlClient;
  readonly marks: MarkTaker;
  /** What comes through the trace port: nothing, if the configuration has no relay. */
  readonly receiver: TraceReceiver;
  readonly socket: SocketReceiver | undefined;
  readonly #parts: RecordingParts;
  readonly #marksServed: Promise<void>;

  private constructor(
    parts: RecordingParts,
    machine: Machine,
    receiver: TraceReceiver,
    socket: SocketReceiver | undefined,
  ) {
    const { state, ctx, stop } = parts;
    this.#parts = parts;
    this.machine = machine;
    this.receiver = receiver;
    this.socket = socket;
    receiver.done.catch((error: unknown) => stop.abort(error));
    this.marks = new MarkTaker(machine.qmp, 'disk0', async (mark) => {
      // The checkpoint is no mark to verify at: nothing was replayed before it.
      if (mark.label !== 'start') await state.save({ marks: [...state.manifest.marks, mark] });
      ctx.log.debug(`mark ${mark.label} at ${mark.seq}`);
    });
    this.#marksServed = this.#serveMarks();
    this.ctl = new CtlClient(machine.port('lemona.ctl'));
    this.#watchProblems();
    this.#watchDisk();
    // On no command line, where everybody could read it. QEMU keeps it until the guest opens the port.
    if (socket !== undefined) machine.port('lemona.key').write(`${socket.key.toString('hex')}\n`);
  }

  /** Starts QEMU, and whatever hears its guest; nothing runs in it yet. */
  static async launch(parts: RecordingParts): Promise<Guest> {
    const { options, folder, state, ctx, stop } = parts;
    let socket: SocketReceiver | undefined;
    let machine: Machine | undefined;
    try {
      socket = await listen(parts);
      machine = await Machine.launch(machineSpec(parts, socket), { log: ctx.log, signal: stop.signal });
      const writer = await SegmentWriter.create({
        folder: folder.segmentsDir,
        now: () => BigInt(Date.now()) * 1_000_000n,
        onSealed: parts.onSealed,
      });
      await state.save({ qemuVersion: machine.qemuVersion });
      const trace = machine.port('lemona.trace');
      const receiver = new TraceReceiver(trace, writer, folder.segmentsDir, options.tracePace);
      return new Guest(parts, machine, receiver, socket);
    } catch (error) {
      await machine?.quit();
      await socket?.close();
      throw error;
    }
  }

  /** Boots it and hears its hello. What it sent until a boot failed is kept. */
  async boot(): Promise<void> {
    const { options, state, ctx } = this.#parts;
    const step = ctx.progress.step('booting the guest');
    const bootedFromMs = performance.now();
    try {
      await options.onMachine?.(this.machine);
      await this.machine.start();
      const guard = this.guard(options.bootTimeoutMs ?? BOOT_TIMEOUT_MS, 'LAB_VM_NO_HELLO');
      const hello = await guard(this.ctl.hello, "the guest's hello");
      const bootSeconds = (performance.now() - bootedFromMs) / 1000;
      this.#checkHello(hello);
      await state.save({ seconds: { ...state.manifest.seconds, boot: roundSeconds(bootSeconds) } });
      step.done(
        `${hello.get('kernel') ?? 'unknown kernel'} up in ${bootSeconds.toFixed(1)} s under ${state.manifest.accelerator}`,
      );
    } catch (error) {
      step.fail();
      throw error;
    }
  }

  /** Bounds a wait for this guest: by time, by its end, and by all that ends the recording. */
  guard(timeoutMs: number, code: 'LAB_TIMEOUT' | 'LAB_VM_NO_HELLO' = 'LAB_TIMEOUT') {
    return <T>(work: Promise<T>, label: string): Promise<T> =>
      this.machine.guard(work, {
        label,
        timeoutMs,
        code,
        signal: this.#parts.stop.signal,
        lastSeen: () => this.ctl.problems.at(-1) ?? '',
      });
  }

  /** Of what it recorded, by all ways. */
  get receivedBytes(): number {
    return this.receiver.receivedBytes + (this.socket?.receivedBytes ?? 0);
  }

  /** Of the way by which the record in `segments/` came. */
  #totals(relay: TraceTotals): RecordTotals {
    if (this.socket === undefined || this.#parts.config.relay) return relay;
    return { ...this.socket.totals, tornBytes: 0 };
  }

  /** After the guest's end: everything that is in the sockets is read, then the segments are sealed. */
  async finish(): Promise<RunManifest['trace']> {
    await this.machine.quit();
    const totals = await this.receiver.done;
    await this.socket?.close();
    await this.#marksServed;
    return traceOf(this.#totals(totals));
  }

  /** Lets receiver and mark port come to their ends, however that is, and notes what the receiver has. */
  async settle(): Promise<void> {
    const { state } = this.#parts;
    await this.receiver.done.catch((error: unknown) => state.problem(messageOf(error)));
    await this.socket?.close();
    await this.#marksServed;
    state.set({ trace: traceOf(this.#totals(this.receiver.totals)) });
  }

  #serveMarks(): Promise<void> {
    return serveMarks(this.machine.port('lemona.mark'), async (request) => {
      try {
        await this.marks.take(request);
      } catch (error) {
        if (error instanceof LabError && error.code === 'LAB_ENV_DISK_FULL') this.#parts.stop.abort(error);
        throw error;
      }
    });
  }

  #watchProblems(): void {
    const { state, ctx, stop } = this.#parts;
    this.ctl.onProblem((text) => {
      ctx.log.warn(`guest: ${text}`);
      state.problem(`guest: ${text}`);
      // Even after the mark itself: without a forwarder nothing of the record would leave the guest.
      if (text.startsWith('checkpoint:')) {
        stop.abort(this.machine.failure('LAB_GUEST_PROBLEM', `the guest could not start recording: ${text}`));
      }
    });
  }

  /**
   * QEMU pauses the guest when the host's disk is full; nobody would wake it again. Other errors it reports to the
   * guest, which goes on with a disk that fails, as it would without us.
   */
  #watchDisk(): void {
    const { state, ctx, stop } = this.#parts;
    this.machine.qmp.onEvent(({ event, data }) => {
      if (event !== 'BLOCK_IO_ERROR') return;
      if (data.action === 'report') {
        if (state.manifest.problems.some((problem) => problem.includes(DISK_FAILED))) return;
        const text = `${DISK_FAILED}: ${String(data.operation)}: ${String(data.reason)}`;
        ctx.log.warn(text);
        state.problem(text);
      } else if (data.nospace === true) {
        stop.abort(
          new LabError('LAB_ENV_DISK_FULL', "the guest's disk could not grow: no space left on the host's disk", {
            next: 'free some space, or choose another folder with --runs',
          }),
        );
      } else stop.abort(new LabError('LAB_ENV_IO', `the guest's disk failed: ${String(data.reason)}`));
    });
  }

  #checkHello(hello: ReadonlyMap<string, string>): void {
    const { config } = this.#parts;
    const problem = this.ctl.problems.at(-1);
    const told = problem === undefined ? '' : `: ${problem}`;
    const fail = (message: string) => this.machine.failure('LAB_GUEST_PROBLEM', `${message}${told}`);
    if (hello.get('root') === 'none') throw fail('the guest could not mount its root file system');
    if (!config.records || config.flavour !== 'y') return;
    const wants = `configuration '${config.name}' wants the driver built in`;
    if (hello.get('lemona') === 'no') throw fail(`${wants}, but the guest has no /dev/lemona`);
    if (config.relay && hello.get('forwarder') === 'no') throw fail(`${wants}, but nothing forwards its records`);
    if (config.socket && hello.get('key') === 'no') throw fail(`${wants}, but nobody gave it its key`);
  }
}

/** To the millisecond, as run.json has them. */
export function roundSeconds(seconds: number): number {
  return Math.round(seconds * 1000) / 1000;
}

function traceOf({ segments, bytes, subbufs, tornBytes }: RecordTotals): RunManifest['trace'] {
  return { segments, bytes, subbufs, tornBytes };
}
