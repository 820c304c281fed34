// SPDX-License-Identifier: MIT
/** What `recordRun` is asked for and what it returns. */
import type { Readable, Writable } from 'node:stream';
import type { TracePace } from '../link/receiver.js';
import { LabError } from '../util/errors.js';
import type { Machine } from '../vm/machine.js';
import type { Accelerator, Forward, PluginSpec } from '../vm/qemu-args.js';
import { DEFAULT_MEMORY_MIB, DEFAULT_SMP, findConfig, type RunConfig } from './configs.js';
import { type CopyIn, checkCopyIn } from './copy-in.js';
import type { RunManifest } from './manifest.js';
import type { SocketReceiver, SocketReceiverOptions } from './socket-receiver.js';
import type { WitnessParts } from './witness.js';

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
  /** Path of the server's intake; needed by configurations with a socket. */
  readonly intake?: string;
  readonly command: readonly [string, ...string[]];
  readonly copyIn?: readonly CopyIn[];
  readonly smp?: number;
  readonly memoryMiB?: number;
  /** Of MachineSpec. */
  readonly hasOneThread?: boolean;
  /** Bounds the command alone; it then ends with status 124. */
  readonly timeoutMs?: number;
  readonly bootTimeoutMs?: number;
  readonly kernelArgs?: readonly string[];
  readonly qemuArgs?: readonly string[];
  /** Of a guest that crashed `memory.elf` stays, to look into why. It holds the machine's keys. */
  readonly keepsMemory?: boolean;
  /** Ports that lead into the guest; nothing leads out of it. */
  readonly forwards?: readonly Forward[];
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

/** Reads a HOST:GUEST. Pure. */
export function parseForward(text: string): Forward {
  const [hostPort, guestPort] = (/^(\d{1,5}):(\d{1,5})$/.exec(text)?.slice(1) ?? []).map(Number);
  const isPort = (port: number | undefined): port is number => port !== undefined && port > 0 && port < 65_536;
  if (!isPort(hostPort) || !isPort(guestPort))
    throw new LabError('LAB_USAGE', `'${text}' is no HOST:GUEST of two TCP ports`, { next: 'as in --forward 8080:80' });
  return { hostPort, guestPort };
}

export interface RecordResult {
  readonly runDir: string;
  readonly manifest: RunManifest;
  /** Of the command; 124 if the timeout ended it. */
  readonly exitStatus: number;
  readonly timedOut: boolean;
}

export type NamedConfig = RunConfig & { readonly name: string };

/** A debug flavour's kernel looks for its own faults. */
export function hasCheckers({ kernel }: RecordOptions): boolean {
  return kernel.flavour.startsWith('debug');
}

/** What is known before a kernel and an image are built. */
export type RecordRequest = Pick<RecordOptions, 'config' | 'smp' | 'memoryMiB' | 'copyIn' | 'accelerator'> & {
  readonly isWitnessed: boolean;
  readonly isDebug: boolean;
};

/** The configuration that is asked for; LAB_USAGE if what is asked does not go together. */
export async function checkRequest(request: RecordRequest): Promise<NamedConfig> {
  const config = findConfig(request.config);
  const { smp = DEFAULT_SMP, memoryMiB = DEFAULT_MEMORY_MIB, isWitnessed, isDebug, accelerator } = request;
  const refuse = (text: string): never => {
    throw new LabError('LAB_USAGE', text);
  };
  if (!Number.isInteger(smp) || smp < 1 || smp > 64) refuse(`--smp ${smp}: wanted 1 to 64`);
  if (!Number.isInteger(memoryMiB) || memoryMiB < 128) refuse(`--memory ${memoryMiB}: wanted at least 128 MiB`);
  if (isDebug && config.flavour === 'n') refuse(`--debug: configuration '${config.name}' has no driver to look at`);
  if (isWitnessed && !config.records)
    refuse(`--witness: configuration '${config.name}' keeps no record to compare with`);
  if (isWitnessed && accelerator === 'kvm')
    refuse('--witness: it is a plugin of the emulator (TCG), and KVM was asked for');
  await checkCopyIn(request.copyIn ?? []);
  return config;
}

/** As `checkRequest`; the kernel must fit too. */
export async function checkOptions(options: RecordOptions): Promise<NamedConfig> {
  const isWitnessed = options.witness !== undefined;
  const config = await checkRequest({ ...options, isWitnessed, isDebug: hasCheckers(options) });
  const fits: Record<RunConfig['flavour'], readonly KernelArtifact['flavour'][]> = {
    n: ['n', 'vanilla', 'traceable'],
    m: ['m', 'debug-m'],
    y: ['y', 'debug'],
  };
  const { flavour } = options.kernel;
  if (fits[config.flavour].includes(flavour)) return config;
  throw new LabError(
    'LAB_USAGE',
    `configuration '${config.name}' needs a kernel of flavour '${config.flavour}', this one is '${flavour}'`,
  );
}
