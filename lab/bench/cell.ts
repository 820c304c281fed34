// SPDX-License-Identifier: MIT
/**
 * One cell of the matrix: one workload in one configuration, on one lane, recorded once. It runs in a process of its own
 * (cell-main.ts), so that what that process uses is what taking this record costs the lab.
 */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { Writable } from 'node:stream';
import { verifyRun } from '../../replay/verify.js';
import { usedByIntakes } from '../link/intake.js';
import { recordParts, replayVm } from '../parts/parts.js';
import { buildPlugin } from '../parts/plugins.js';
import { runTool } from '../proc/tool.js';
import { recordRun } from '../run/record.js';
import { listenForGuest, type SocketReceiverOptions } from '../run/socket-receiver.js';
import type { LabContext } from '../util/context.js';
import { ioError, LabError } from '../util/errors.js';
import type { Accelerator } from '../vm/qemu-args.js';
import { BASELINES, type BenchConfig, type BenchConfigName, baselineOf, benchConfig, TRACEABLE } from './configs.js';
import { parseSymbols, readCounts, type SpanCounts, writeSymbols } from './counts.js';
import { databaseFigures } from './database-figures.js';
import { ICOUNT_WIRE_LIMITS } from './icount.js';
import { acceleratorOf, LANE_GUESTS } from './lanes.js';
import { HostLoad } from './load.js';
import type { DoneCell, Lane, SpanResult } from './report-data.js';
import { rivalFigures, rivalScript } from './rivals.js';
import { traceFigures } from './trace-figures.js';
import { type Size, timeoutMs, type Workload } from './workload.js';

const GUEST = path.join(import.meta.dirname, 'guest');
export const PROGRAMS = ['span', 'micro'] as const;

export interface CellSpec {
  readonly config: BenchConfigName;
  readonly workload: Workload;
  readonly lane: Lane;
  readonly repeat: number;
  readonly size: Size;
  /** Of the parallel lane; the counter of the deterministic one is a plugin of the emulator. */
  readonly accelerator: Accelerator;
  /** Rebuild the disk and compare it, and load the record into a database. */
  readonly verify: boolean;
  /** Folder of the run; removed afterwards if all went well. */
  readonly runDir: string;
}

/** `span LABEL UNITS SECONDS` lines of the work's output. Pure. */
export function parseSpans(
  output: string,
): { readonly label: string; readonly units: number; readonly seconds: number }[] {
  return [...output.matchAll(/^span (\S+) (\d+) (\d+\.\d+)$/gm)].map(([, label = '', units, seconds]) => ({
    label,
    units: Number(units),
    seconds: Number(seconds),
  }));
}

/** What was printed and, on the deterministic lane, counted of each span. Pure. */
export function spanResults(
  spans: ReturnType<typeof parseSpans>,
  counts: readonly SpanCounts[] | undefined,
): SpanResult[] {
  return spans.map((span, i) => {
    const { user = null, kernel = null, functions = {} } = counts?.[i] ?? {};
    return { ...span, user, kernel, functions };
  });
}

/** File of a program: with the driver's own way to end a span, or the one for guests without it (guest/span.h). */
export function programFile(name: string, config: BenchConfigName): string {
  return baselineOf(config) === TRACEABLE ? `${name}-settling` : name;
}

/** The programs of the guest, compiled into a folder. */
export async function buildPrograms(folder: string, ctx: LabContext): Promise<void> {
  for (const name of PROGRAMS) {
    for (const config of BASELINES) {
      await runTool(
        [
          ...(['gcc', '-static', '-O1', '-std=gnu11', '-Wall', '-Wextra', '-Werror'] as const),
          ...(config === TRACEABLE ? ['-DSPAN_SETTLES'] : []),
          ...['-I', path.join(import.meta.dirname, '../../module'), '-o', path.join(folder, programFile(name, config))],
          path.join(GUEST, `${name}.c`),
        ],
        { signal: ctx.signal, next: 'install the packages gcc and libc6-dev' },
      );
    }
  }
}

/** The most memory a process held, of its /proc/PID/status. Not maxRSS, which counts the process too that began it. Pure. */
export function peakBytesOf(status: string): number {
  const [, kib] = /^VmHWM:\s+(\d+) kB$/m.exec(status) ?? [];
  if (kib === undefined) throw new LabError('LAB_BUG', 'the status of this process has no VmHWM');
  return Number(kib) * 1024;
}

/** What taking records has used so far: this process and its intakes, no other children. */
async function resources(): Promise<DoneCell['lab']> {
  const { userCPUTime, systemCPUTime, fsWrite } = process.resourceUsage();
  const peakBytes = peakBytesOf(await readFile('/proc/self/status', 'latin1'));
  const intakes = usedByIntakes();
  return {
    cpuSeconds: (userCPUTime + systemCPUTime) / 1e6 + intakes.cpuSeconds,
    writtenBytes: fsWrite * 512 + intakes.writtenBytes,
    peakBytes: peakBytes + intakes.peakBytes,
  };
}

/** What the guest runs. Pure. */
export function commandOf({ name, rival }: BenchConfig, workload: Workload, size: Size): [string, ...string[]] {
  const work = `set -e
export PATH=/root/bin:$PATH LC_ALL=C
mkdir /root/work && cd /root/work
${workload.script(size)}`;
  return ['sh', '-c', baselineOf(name) === TRACEABLE ? rivalScript(rival, work) : work];
}

/** What a cell's guest boots. */
export function cellParts({ run, flavour, image }: BenchConfig, workload: Workload, ctx: LabContext) {
  return recordParts({ ...run, flavour }, image ?? workload.image, false, ctx);
}

/** What a command of the guest printed. */
class Collector extends Writable {
  text = '';
  readonly #onText: (text: string) => void;

  constructor(onText: (text: string) => void = () => {}) {
    super();
    this.#onText = onText;
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    const text = chunk.toString('latin1');
    this.text += text;
    this.#onText(text);
    done();
  }
}

/** Runs it; throws if the guest or the work fails. The run's folder stays then. */
export async function runCell(spec: CellSpec, programs: string, ctx: LabContext): Promise<DoneCell> {
  const startedMs = performance.now();
  const benched = benchConfig(spec.config);
  const config = benched.run;
  const parts = await cellParts(benched, spec.workload, ctx);
  const isCounted = spec.lane === 'deterministic';
  const counter = isCounted ? await counterOf(parts.kernel.systemMap, spec.runDir, ctx) : undefined;
  // Apart: what is cut into pieces on its way is not mixed with the other's lines.
  const stdout = new Collector();
  const { loadedPort } = spec.workload;
  const load = loadedPort === undefined ? undefined : await HostLoad.create(loadedPort, ctx.signal);
  const stderr = new Collector((text) => load?.heard(text));
  const accelerator = isCounted ? 'tcg' : spec.accelerator;
  const before = await resources();
  const { exitStatus } = await recordRun(
    {
      ...parts,
      runDir: spec.runDir,
      config: config.name,
      ...LANE_GUESTS[spec.lane],
      accelerator,
      memoryMiB: spec.workload.memoryMiB,
      timeoutMs: timeoutMs(spec.workload, spec.size),
      command: commandOf(benched, spec.workload, spec.size),
      copyIn: PROGRAMS.map((name) => ({
        source: path.join(programs, programFile(name, spec.config)),
        destination: `/root/bin/${name}`,
      })),
      stdout,
      stderr,
      ...(load === undefined ? {} : { stdin: load.stdin, forwards: [load.forward] }),
      force: true,
      ...(counter === undefined
        ? {}
        : {
            plugin: counter.plugin,
            listenForGuest: (options: SocketReceiverOptions) =>
              listenForGuest({ ...options, limits: ICOUNT_WIRE_LIMITS }),
          }),
    },
    ctx,
  );
  const after = await resources();
  if (load?.failure !== undefined) throw load.failure;
  if (exitStatus !== 0)
    throw new LabError(
      'LAB_GUEST_PROBLEM',
      `the work ended with status ${exitStatus}: ${`${stdout.text}${stderr.text}`.slice(-500)}`,
    );
  const spans = parseSpans(stdout.text);
  const counts = await counter?.read();
  if (spans.length === 0 || (counts !== undefined && counts.length !== spans.length))
    throw new LabError('LAB_GUEST_PROBLEM', `${spans.length} spans were printed, ${counts?.length ?? 0} counted`);
  const trace = config.records ? await traceFigures(spec.runDir, ctx.signal) : null;
  let rebuild: DoneCell['rebuild'] = null;
  let database: DoneCell['database'] = null;
  if (config.records && spec.verify) {
    const { isEqual, marks } = await verifyRun(
      { runDir: spec.runDir, at: 'end', vm: () => replayVm(spec.runDir, ctx), strict: false },
      ctx,
    );
    const end = marks[0];
    rebuild = { isEqual, differences: end?.differences ?? 0, compared: end?.compared ?? 0 };
    database = await databaseFigures(spec.runDir, ctx);
  }
  await counter?.remove();
  const rival = benched.rival === undefined ? null : rivalFigures(benched.rival, stdout.text);
  const isGood = (trace === null || trace.lost + trace.missing === 0) && rebuild?.isEqual !== false;
  if (isGood) await rm(spec.runDir, { recursive: true });
  else ctx.log.warn(`the record is not complete, or the disk not rebuilt exactly: the run is kept in ${spec.runDir}`);
  return {
    state: 'done',
    config: spec.config,
    workload: spec.workload.name,
    lane: spec.lane,
    repeat: spec.repeat,
    spans: spanResults(spans, counts),
    trace,
    lab: {
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
      writtenBytes: after.writtenBytes - before.writtenBytes,
      peakBytes: after.peakBytes,
    },
    rebuild,
    database,
    rival,
    accelerator: acceleratorOf(spec.lane, accelerator),
    wallSeconds: (performance.now() - startedMs) / 1000,
    runDir: isGood ? null : spec.runDir,
  };
}

/** The counter for a kernel; its files lie beside the run, whose folder `record` makes itself. */
async function counterOf(systemMap: string, runDir: string, ctx: LabContext) {
  let map: string;
  try {
    map = await readFile(systemMap, 'utf8');
  } catch (error) {
    throw ioError(`reading ${systemMap}`, error);
  }
  const symbols = parseSymbols(map);
  const files = { symbols: `${runDir}.symbols`, counts: `${runDir}.counts` };
  await writeSymbols(symbols, files.symbols);
  return {
    plugin: { file: await buildPlugin('counter', ctx), args: files },
    read: () => readCounts(files.counts, symbols),
    remove: async () => {
      await rm(files.symbols, { force: true });
      await rm(files.counts, { force: true });
    },
  };
}
