// SPDX-License-Identifier: MIT
/**
 * Runs the cells of the matrix one after another and keeps each one's result in a file of its own, so that an interrupted
 * bench goes on where it was. A cell that fails is reported as failed, its run is kept, and the others go on.
 */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { cpus, release, totalmem } from 'node:os';
import path from 'node:path';
import { recordParts } from '../parts/parts.js';
import { runTool } from '../proc/tool.js';
import { findConfig } from '../run/configs.js';
import { writeAtomically } from '../run/manifest.js';
import type { LabContext } from '../util/context.js';
import { messageOf, systemCodeOf } from '../util/errors.js';
import { formatElapsed } from '../util/progress.js';
import { buildPrograms, runCell } from './cell.js';
import { type BenchOptions, type Cell, cellSchema, type Lane, type Report } from './report-data.js';
import type { Workload } from './workload.js';

/** A cell before it was run. */
export interface CellPlan {
  readonly config: BenchOptions['configs'][number];
  readonly workload: Workload;
  readonly lane: Lane;
  readonly repeat: number;
}

/**
 * All cells in order. On the parallel lane configurations are interleaved, so that what changes on the host in the
 * course of a bench changes for all of them. Pure.
 */
export function planCells(options: BenchOptions, workloads: readonly Workload[]): CellPlan[] {
  return options.lanes.flatMap((lane) =>
    Array.from({ length: options.repeats[lane] }, (_, repeat) => repeat).flatMap((repeat) =>
      workloads.flatMap((workload) => options.configs.map((config) => ({ config, workload, lane, repeat }))),
    ),
  );
}

function fileOf(folder: string, cell: CellPlan): string {
  return path.join(folder, `${cell.lane}-${cell.workload.name}-${cell.config}-${cell.repeat}.json`);
}

/** What was measured before, if it was measured of the same things. */
async function earlier(file: string, digest: string): Promise<Cell | undefined> {
  try {
    const kept = JSON.parse(await readFile(file, 'utf8')) as { digest?: unknown; cell?: unknown };
    if (kept.digest !== digest) return undefined;
    const cell = cellSchema.parse(kept.cell);
    return cell.state === 'done' ? cell : undefined;
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    // A file that was cut off, or edited: measured again.
    return undefined;
  }
}

/** Digests of what the guests boot and do. */
async function digestsOf(
  options: BenchOptions,
  workloads: readonly Workload[],
  ctx: LabContext,
): Promise<Record<string, string>> {
  const digests: Record<string, string> = {};
  for (const workload of workloads) {
    const script = createHash('sha256').update(workload.script(options.size)).digest('hex');
    digests[`workload ${workload.name}`] = script;
    for (const name of options.configs) {
      const parts = await recordParts(findConfig(name), workload.image, false, ctx);
      digests[`kernel ${parts.kernel.flavour}`] = parts.kernel.digest;
      digests[`image ${parts.image.kind}`] = parts.image.digest;
    }
  }
  return digests;
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

/** Measures all cells; those that a former bench into the same folder measured of the same things are taken over. */
export async function runMatrix(spec: BenchSpec, ctx: LabContext): Promise<Report> {
  const { options, workloads } = spec;
  const cellsDir = path.join(spec.output, 'cells');
  const runsDir = path.join(spec.output, 'runs');
  const programs = path.join(spec.output, 'programs');
  for (const folder of [cellsDir, runsDir, programs]) await mkdir(folder, { recursive: true });
  await buildPrograms(programs, ctx);
  const digests = await digestsOf(options, workloads, ctx);
  const digest = createHash('sha256').update(JSON.stringify(digests)).digest('hex');
  const plan = planCells(options, workloads);
  const cells: Cell[] = [];
  const startedMs = performance.now();
  let measured = 0;
  for (const [i, one] of plan.entries()) {
    const file = fileOf(cellsDir, one);
    const kept = await earlier(file, digest);
    if (kept !== undefined) {
      cells.push(kept);
      continue;
    }
    const { config, workload, lane, repeat } = one;
    const left =
      measured === 0
        ? ''
        : `, about ${formatElapsed(((performance.now() - startedMs) / measured) * (plan.length - i))} left`;
    ctx.log.info(`cell ${i + 1} of ${plan.length}${left}: ${lane}, ${workload.name}, ${config}, repeat ${repeat + 1}`);
    const runDir = path.join(runsDir, `${lane}-${workload.name}-${config}-${repeat}`);
    let cell: Cell;
    try {
      cell = await runCell(
        { config, workload, lane, repeat, size: options.size, verify: repeat === 0, runDir },
        programs,
        ctx,
      );
    } catch (error) {
      ctx.signal.throwIfAborted();
      cell = { state: 'failed', config, workload: workload.name, lane, repeat, error: messageOf(error), runDir };
      ctx.log.error(`this cell failed, and its run is kept in ${runDir}: ${cell.error}`);
    }
    await writeAtomically(file, `${JSON.stringify({ digest, cell })}\n`);
    cells.push(cell);
    measured++;
  }
  await rm(programs, { recursive: true });
  return {
    format: 1,
    created: new Date().toISOString(),
    command: spec.command,
    options,
    host: await hostFacts(ctx),
    digests,
    cells,
  };
}
