// SPDX-License-Identifier: MIT
/**
 * One cell of the matrix: one workload in one configuration, on one lane, recorded once. It runs in a process of its own
 * (cell-main.ts), so that what that process uses is what taking this record costs the lab.
 */
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { Writable } from 'node:stream';
import { verifyRun } from '../../replay/verify.js';
import { recordParts, replayVm } from '../parts/parts.js';
import { buildPlugin } from '../parts/plugins.js';
import { runTool } from '../proc/tool.js';
import { recordRun } from '../run/record.js';
import { listenForGuest, type SocketReceiverOptions } from '../run/socket-receiver.js';
import type { LabContext } from '../util/context.js';
import { ioError, LabError } from '../util/errors.js';
import { BASELINES, type BenchConfig, type BenchConfigName, baselineOf, benchConfig, TRACEABLE } from './configs.js';
import { parseSymbols, readCounts, writeSymbols } from './counts.js';
import { databaseFigures } from './database-figures.js';
import { ICOUNT_KERNEL_ARGS, ICOUNT_QEMU_ARGS, ICOUNT_WIRE_LIMITS } from './icount.js';
import { HostLoad } from './load.js';
import type { DoneCell, Lane } from './report-data.js';
import { rivalFigures, rivalScript } from './rivals.js';
import { traceFigures } from './trace-figures.js';
import type { Size, Workload } from './workload.js';

/** vCPUs of the parallel lane: as many as the smallest machine has cores. */
const PARALLEL_SMP = 2;
const TIMEOUT_MS = 1_800_000;
/** Functions of the kernel that are listed: the costliest ones. */
const FUNCTIONS_KEPT = 60;
const GUEST = path.join(import.meta.dirname, 'guest');
export const PROGRAMS = ['span', 'micro'] as const;

export interface CellSpec {
  readonly config: BenchConfigName;
  readonly workload: Workload;
  readonly lane: Lane;
  readonly repeat: number;
  readonly size: Size;
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

/** What this process has used so far; children are not in it. */
function resources(): { readonly cpuSeconds: number; readonly writtenBytes: number; readonly peakBytes: number } {
  const { userCPUTime, systemCPUTime, fsWrite, maxRSS } = process.resourceUsage();
  return { cpuSeconds: (userCPUTime + systemCPUTime) / 1e6, writtenBytes: fsWrite * 512, peakBytes: maxRSS * 1024 };
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
  const before = resources();
  const { exitStatus, manifest } = await recordRun(
    {
      ...parts,
      runDir: spec.runDir,
      config: config.name,
      smp: isCounted ? 1 : PARALLEL_SMP,
      memoryMiB: spec.workload.memoryMiB,
      timeoutMs: TIMEOUT_MS,
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
            accelerator: 'tcg' as const,
            plugin: counter.plugin,
            qemuArgs: ICOUNT_QEMU_ARGS,
            kernelArgs: ICOUNT_KERNEL_ARGS,
            listenForGuest: (options: SocketReceiverOptions) =>
              listenForGuest({ ...options, limits: ICOUNT_WIRE_LIMITS }),
          }),
    },
    ctx,
  );
  const after = resources();
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
    spans: spans.map((span, i) => ({
      ...span,
      user: counts?.[i]?.user ?? null,
      kernel: counts?.[i]?.kernel ?? null,
      functions: costliest(counts?.[i]?.functions ?? {}),
    })),
    trace,
    lab: {
      cpuSeconds: after.cpuSeconds - before.cpuSeconds,
      writtenBytes: after.writtenBytes - before.writtenBytes,
      peakBytes: after.peakBytes,
    },
    rebuild,
    database,
    rival,
    accelerator: manifest.accelerator ?? 'none',
    wallSeconds: (performance.now() - startedMs) / 1000,
  };
}

function costliest(functions: Readonly<Record<string, number>>): Record<string, number> {
  const sorted = Object.entries(functions).sort(([, a], [, b]) => b - a);
  return Object.fromEntries(sorted.slice(0, FUNCTIONS_KEPT));
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
