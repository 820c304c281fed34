// SPDX-License-Identifier: MIT
/** A receiver inside the test, with its storage in a folder of its own; and streams to feed it with. */
import { randomBytes } from 'node:crypto';
import { access, constants, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { BootStore, Gate } from '../../lab/link/boot-store.js';
import type { BootKeeper } from '../../lab/link/boots.js';
import { MODE } from '../../lab/link/wire.js';
import { type WireEvent, type WireLimits, WireServer } from '../../lab/link/wire-server.js';
import { buildIntake } from '../../lab/parts/intake.js';
import { readSegments, type SegmentProblem } from '../../lab/trace/segment-reader.js';
import { defaultCacheDir } from '../../lab/util/context.js';
import { stderrLog } from '../../lab/util/log.js';
import { silentProgress } from '../../lab/util/progress.js';
import { SEGMENT_CLOCK_NS } from './run-builder.js';
import { SimDriver } from './sim-driver.js';
import { nop, subbuf } from './trace-builder.js';

export const SIM_BOOT = 0x1122334455667788n;

/** The intake that a server in the test uses; with `more`, flags of the compiler, another one. */
export function testIntake(more?: readonly string[]): Promise<string> {
  const ctx = { cacheDir: defaultCacheDir(), log: stderrLog('warn'), progress: silentProgress };
  return buildIntake({ ...ctx, signal: new AbortController().signal }, more);
}

export interface TestPoint {
  readonly server: WireServer;
  readonly key: Buffer;
  readonly events: WireEvent[];
  /** `closed` of the keeper, in order. */
  readonly closed: { readonly machine: string; readonly isEnded: boolean }[];
  /** It cannot note that a boot was closed. */
  isFull: boolean;
  driver(machine?: string, mode?: number, bootId?: bigint): SimDriver;
}

export interface TestPointOptions {
  readonly port?: number;
  readonly key?: Buffer;
  readonly limits?: Partial<WireLimits>;
  readonly segmentBytes?: number;
  readonly modes?: readonly number[];
  /** What the keeper does with a boot before it hands it out. */
  readonly onOpen?: (store: BootStore) => void;
}

/** Machines are called m…; segments of a boot lie in `folder/MACHINE-BOOT`. */
export async function startPoint(folder: string, options: TestPointOptions = {}): Promise<TestPoint> {
  const key = options.key ?? randomBytes(32);
  const gate = new Gate(2);
  const events: WireEvent[] = [];
  const closed: { machine: string; isEnded: boolean }[] = [];
  const keeper: BootKeeper = {
    open: async ({ machine, bootId }) => {
      const store = await BootStore.open({
        folder: `${folder}/${machine}-${bootId.toString(16)}`,
        now: () => SEGMENT_CLOCK_NS,
        syncGate: gate,
        limitBytes: options.segmentBytes ?? 20_000,
      });
      options.onOpen?.(store);
      return store;
    },
    closed: async ({ machine }, _store, ends) => {
      closed.push({ machine, isEnded: ends !== undefined });
      return !point.isFull;
    },
  };
  const modes = options.modes ?? [MODE.NOISE, MODE.PLAIN];
  const server = await WireServer.listen({
    host: '127.0.0.1',
    port: options.port ?? 0,
    serverId: 1n,
    findMachine: async (name) => (name.startsWith('m') ? { key, modes } : undefined),
    keeper,
    intake: await testIntake(),
    onEvent: (event) => events.push(event),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  });
  const driver = (machine = 'm', mode: number = MODE.NOISE, bootId = SIM_BOOT) =>
    new SimDriver({ port: server.port, machine, key, mode, bootId, cpus: 4 });
  const point: TestPoint = { server, key, events, closed, isFull: false, driver };
  return point;
}

/** Sub-buffers of a few streams, each with a few records of random sizes. */
export function feed(driver: SimDriver, count: number, size: () => number = () => 3): void {
  const next = new Map<number, bigint>();
  const counts = new Map<number, bigint>();
  for (let i = 0; i < count; i++) {
    const cpu = i % driver.options.cpus;
    const number = next.get(cpu) ?? 0n;
    next.set(cpu, number + 1n);
    const records = Array.from({ length: size() }, (_, at) => nop(number * 10_000n + BigInt(at) + 1n));
    const issued = (counts.get(cpu) ?? 0n) + BigInt(records.length);
    counts.set(cpu, issued);
    driver.put(cpu, number, subbuf(records, { cpu, number, issued, bootId: driver.options.bootId }));
  }
}

/** In memory where there is some: what is tested does not depend on the speed of a sync. */
export async function testFolder(): Promise<string> {
  const base = await access('/dev/shm', constants.W_OK).then(
    () => '/dev/shm',
    () => tmpdir(),
  );
  return mkdtemp(join(base, 'lemona-test-'));
}

export interface Stored {
  /** Numbers of each CPU, in file order. */
  readonly numbers: Map<number, bigint[]>;
  readonly problems: SegmentProblem[];
}

/** What lies in a folder of segments. */
export async function readStored(folder: string): Promise<Stored> {
  const numbers = new Map<number, bigint[]>();
  const problems: SegmentProblem[] = [];
  for await (const item of readSegments(folder)) {
    if (item.type === 'problem') problems.push(item);
    else numbers.set(item.header.cpu, [...(numbers.get(item.header.cpu) ?? []), item.header.number]);
  }
  return { numbers, problems };
}

/** What `feed` makes. */
export function expectedNumbers(cpus: number, count: number): Map<number, bigint[]> {
  const numbers = new Map<number, bigint[]>();
  for (let i = 0; i < count; i++) {
    const list = numbers.get(i % cpus) ?? [];
    list.push(BigInt(list.length));
    numbers.set(i % cpus, list);
  }
  return numbers;
}
