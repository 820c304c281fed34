// SPDX-License-Identifier: MIT
/** The whole bench: what the guests boot and do is made and identified, all cells are measured, and a report is made of them. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import path from 'node:path';
import { acceleratorFor, replayParts } from '../parts/parts.js';
import { buildPlugin } from '../parts/plugins.js';
import { runTool } from '../proc/tool.js';
import { sha256File } from '../run/digest.js';
import type { LabContext } from '../util/context.js';
import { LabError } from '../util/errors.js';
import { type Accelerator, QEMU_PROGRAM } from '../vm/qemu-args.js';
import { buildPrograms, cellParts, commandOf, PROGRAMS, programFile } from './cell.js';
import { runCellProcess } from './cell-process.js';
import { BASELINES, type BenchConfig, baselineOf, benchConfig, TRACEABLE } from './configs.js';
import { ICOUNT_SEED } from './icount.js';
import { cellArgs } from './lanes.js';
import { type CellPlan, measureCells, nameOf, planCells } from './measure.js';
import { inOutput, type Repeated } from './output.js';
import { type BenchOptions, differing, type Report } from './report-data.js';
import { rivalScript } from './rivals.js';
import type { Workload } from './workload.js';

function sha256(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** Digests of what the guests boot and do, and of what counts it. */
async function digestsOf(
  options: BenchOptions,
  workloads: readonly Workload[],
  programs: string,
  ctx: LabContext,
): Promise<Record<string, string>> {
  const replay = await replayParts(ctx);
  const digests: Record<string, string> = {
    counter: await sha256File(await buildPlugin('counter', ctx)),
    'replay kernel': replay.kernel.digest,
    'replay initramfs': await sha256File(replay.initramfs),
  };
  for (const file of PROGRAMS.flatMap((name) => BASELINES.map((config) => programFile(name, config))))
    digests[`program ${file}`] = sha256(await readFile(path.join(programs, file)));
  for (const workload of workloads) {
    digests[`workload ${workload.name}`] = sha256(
      `${workload.memoryMiB} ${commandOf(benchConfig('vanilla'), workload, options.size).join(' ')}`,
    );
    for (const name of options.configs) {
      const config = benchConfig(name);
      const parts = await cellParts(config, workload, ctx);
      digests[`kernel ${parts.kernel.flavour}`] = parts.kernel.digest;
      digests[`image ${parts.image.kind}`] = parts.image.digest;
      digests[initramfsOf(config)] = await sha256File(parts.initramfs);
      if (parts.intake !== undefined) digests.intake = await sha256File(parts.intake);
    }
  }
  return digests;
}

/** What a bench measures with. */
export interface Means {
  readonly digests: Readonly<Record<string, string>>;
  /** Of `hostFacts`. */
  readonly host: Readonly<Record<string, string>>;
  /** Of the parallel lane. */
  readonly accelerator: Accelerator;
}

/** Only one repeat's disk is rebuilt: that takes longer than the rest. */
function isVerified({ repeat }: CellPlan): boolean {
  return repeat === 0;
}

/** What decides a cell's result: other workloads and other kernels do not, and the host only where time is taken. Pure. */
export function cellDigest({ digests, host, accelerator }: Means, plan: CellPlan): string {
  const { config, workload, lane } = plan;
  const benched = benchConfig(config);
  const { run, flavour, image, rival } = benched;
  const isCounted = lane === 'deterministic';
  const names = [
    ...(isCounted ? ['counter'] : []),
    ...PROGRAMS.map((name) => `program ${programFile(name, config)}`),
    `workload ${workload.name}`,
    `kernel ${flavour}`,
    `image ${image ?? workload.image}`,
    initramfsOf(benched),
    ...(run.socket ? ['intake'] : []),
    ...(run.records && isVerified(plan) ? ['replay kernel', 'replay initramfs'] : []),
  ];
  const made = names.map((name) => {
    const digest = digests[name];
    if (digest === undefined) throw new LabError('LAB_BUG', `${nameOf(plan)}: nothing has the digest of '${name}'`);
    return [name, digest];
  });
  const around = baselineOf(config) === TRACEABLE ? [rivalScript(rival, '')] : [];
  // The lab's own commit changes with each word of a text.
  const { lab, ...machine } = host;
  const on = isCounted ? { qemu: host.qemu } : machine;
  return sha256(JSON.stringify([made, around, run, cellArgs(plan, isCounted ? 'tcg' : accelerator), on]));
}

/** The archive has the driver as a module, and the program that hands over a key, if the configuration has them. */
function initramfsOf({ run, flavour }: BenchConfig): string {
  return `initramfs ${flavour === 'm' ? 'with module' : 'without module'}${run.socket ? ' and key' : ''}`;
}

/** The commit of this program, and whether files differ from it; nothing where it is no checkout. */
export async function labCommit(folder: string, signal: AbortSignal): Promise<Record<string, string>> {
  try {
    const said = await runTool(['git', 'describe', '--always', '--dirty'], { cwd: folder, signal });
    return { lab: said.trim() };
  } catch {
    signal.throwIfAborted();
    return {};
  }
}

async function hostFacts(ctx: LabContext): Promise<Record<string, string>> {
  const qemu = await runTool([QEMU_PROGRAM, '--version'], { signal: ctx.signal });
  return {
    ...(await labCommit(import.meta.dirname, ctx.signal)),
    processor: cpus()[0]?.model ?? 'unknown',
    cores: String(cpus().length),
    memory: `${Math.round(totalmem() / 2 ** 20)} MiB`,
    kernel: release(),
    node: process.version,
    qemu: qemu.split('\n')[0] ?? 'unknown',
  };
}

/** All guests of the parallel lane have the same, whatever kernel they boot. */
async function parallelAccelerator(
  { lanes, configs }: BenchOptions,
  [workload]: readonly Workload[],
  ctx: LabContext,
): Promise<Accelerator> {
  const [config] = configs;
  if (!lanes.includes('parallel') || config === undefined || workload === undefined) return 'tcg';
  const { kernel, image } = await cellParts(benchConfig(config), workload, ctx);
  return acceleratorFor(kernel, image.raw, ctx);
}

export interface BenchSpec {
  readonly options: BenchOptions;
  readonly workloads: readonly Workload[];
  /** Gets cells/ and, of cells that failed, runs/. */
  readonly output: string;
  readonly command: string;
  readonly repeated?: Repeated;
}

/** Measures all cells that were not measured before. */
export function runMatrix(spec: BenchSpec, ctx: LabContext): Promise<Report> {
  return inOutput(spec.output, spec.repeated, () => measure(spec, ctx));
}

async function measure({ options, workloads, command, output, repeated }: BenchSpec, ctx: LabContext): Promise<Report> {
  const folderOf = (name: string) => path.join(output, name);
  const [cellsDir, runsDir, programs] = [folderOf('cells'), folderOf('runs'), folderOf('programs')];
  for (const folder of [cellsDir, runsDir, programs]) await mkdir(folder, { recursive: true });
  await buildPrograms(programs, ctx);
  const means: Means = {
    digests: await digestsOf(options, workloads, programs, ctx),
    host: await hostFacts(ctx),
    accelerator: await parallelAccelerator(options, workloads, ctx),
  };
  const { digests, host, accelerator } = means;
  for (const name of differing(repeated?.report.digests ?? {}, digests))
    ctx.log.warn(`${name} is not what it was in ${repeated?.file}`);
  const runDirOf = (cell: CellPlan) => path.join(runsDir, nameOf(cell));
  const folders = { cacheDir: ctx.cacheDir, dataDir: ctx.dataDir, runsDir: ctx.runsDir };
  const cells = await measureCells(
    planCells(options, workloads),
    {
      folder: cellsDir,
      digestOf: (cell) => cellDigest(means, cell),
      host: { cores: availableParallelism(), memoryBytes: totalmem() },
      runDirOf,
      runCell: (cell, step) => {
        const { config, lane, repeat } = cell;
        const one = { config, lane, repeat, accelerator, workload: cell.workload.name, size: options.size };
        const spec = { ...one, verify: isVerified(cell), runDir: runDirOf(cell) };
        return runCellProcess({ spec, programs, folders }, step, ctx);
      },
    },
    ctx,
  );
  await rm(programs, { recursive: true });
  const created = new Date().toISOString();
  return { format: 1, created, command, options, host, seed: ICOUNT_SEED, digests, cells };
}
