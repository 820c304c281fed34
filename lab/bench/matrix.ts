// SPDX-License-Identifier: MIT
/** The whole bench: what the guests boot and do is made and identified, all cells are measured, and a report is made of them. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import path from 'node:path';
import { buildPlugin } from '../parts/plugins.js';
import { runTool } from '../proc/tool.js';
import type { LabContext } from '../util/context.js';
import { buildPrograms, cellParts, PROGRAMS, programFile } from './cell.js';
import { runCellProcess } from './cell-process.js';
import { BASELINES, baselineOf, benchConfig, TRACEABLE } from './configs.js';
import { ICOUNT_KERNEL_ARGS, ICOUNT_QEMU_ARGS } from './icount.js';
import { type CellPlan, measureCells, nameOf, planCells } from './measure.js';
import type { BenchOptions, Report } from './report-data.js';
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
  const counter = await readFile(await buildPlugin('counter', ctx));
  const digests: Record<string, string> = {
    counter: sha256(Buffer.concat([counter, Buffer.from([...ICOUNT_QEMU_ARGS, ...ICOUNT_KERNEL_ARGS].join(' '))])),
  };
  for (const file of PROGRAMS.flatMap((name) => BASELINES.map((config) => programFile(name, config))))
    digests[`program ${file}`] = sha256(await readFile(path.join(programs, file)));
  for (const workload of workloads) {
    digests[`workload ${workload.name}`] = sha256(`${workload.memoryMiB} ${workload.script(options.size)}`);
    for (const name of options.configs) {
      const parts = await cellParts(benchConfig(name), workload, ctx);
      digests[`kernel ${parts.kernel.flavour}`] = parts.kernel.digest;
      digests[`image ${parts.image.kind}`] = parts.image.digest;
    }
  }
  return digests;
}

/** Of those, what decides a cell's result: other workloads and other kernels do not. Pure. */
export function cellDigest(digests: Readonly<Record<string, string>>, { config, workload }: CellPlan): string {
  const { flavour, image, rival } = benchConfig(config);
  const names = [
    'counter',
    ...PROGRAMS.map((name) => `program ${programFile(name, config)}`),
    `workload ${workload.name}`,
    `kernel ${flavour}`,
    `image ${image ?? workload.image}`,
  ];
  const around = baselineOf(config) === TRACEABLE ? [rivalScript(rival, '')] : [];
  return sha256(JSON.stringify([names.map((name) => [name, digests[name]]), around]));
}

async function hostFacts(ctx: LabContext): Promise<Record<string, string>> {
  const qemu = await runTool(['qemu-system-x86_64', '--version'], { signal: ctx.signal });
  return {
    processor: cpus()[0]?.model ?? 'unknown',
    cores: String(cpus().length),
    memory: `${Math.round(totalmem() / 2 ** 20)} MiB`,
    kernel: release(),
    node: process.version,
    qemu: qemu.split('\n')[0] ?? 'unknown',
  };
}

export interface BenchSpec {
  readonly options: BenchOptions;
  readonly workloads: readonly Workload[];
  /** Gets cells/ and, of cells that failed, runs/. */
  readonly output: string;
  readonly command: string;
}

/** Measures all cells that were not measured before. */
export async function runMatrix(spec: BenchSpec, ctx: LabContext): Promise<Report> {
  const { options, workloads, command } = spec;
  const folderOf = (name: string) => path.join(spec.output, name);
  const [cellsDir, runsDir, programs] = [folderOf('cells'), folderOf('runs'), folderOf('programs')];
  for (const folder of [cellsDir, runsDir, programs]) await mkdir(folder, { recursive: true });
  await buildPrograms(programs, ctx);
  const digests = await digestsOf(options, workloads, programs, ctx);
  const runDirOf = (cell: CellPlan) => path.join(runsDir, nameOf(cell));
  const folders = { cacheDir: ctx.cacheDir, dataDir: ctx.dataDir, runsDir: ctx.runsDir };
  const cells = await measureCells(
    planCells(options, workloads),
    {
      folder: cellsDir,
      digestOf: (cell) => cellDigest(digests, cell),
      host: { cores: availableParallelism(), memoryBytes: totalmem() },
      runDirOf,
      runCell: (cell, step) => {
        const { config, lane, repeat } = cell;
        const runDir = runDirOf(cell);
        const workload = cell.workload.name;
        const one = { config, workload, lane, repeat, size: options.size, verify: repeat === 0, runDir };
        return runCellProcess({ spec: one, programs, folders }, step, ctx);
      },
    },
    ctx,
  );
  await rm(programs, { recursive: true });
  const created = new Date().toISOString();
  return { format: 1, created, command, options, host: await hostFacts(ctx), digests, cells };
}
