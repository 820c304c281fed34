// SPDX-License-Identifier: MIT
/**
 * Measures cells and keeps each one's result in a file of its own, so that an interrupted bench goes on where it was. A
 * cell that fails is reported as failed, its run is kept, and the others go on. On the deterministic lane as many cells run
 * at once as there are cores, because instructions are counted the same whatever else the host does; where time is taken,
 * each cell has the host to itself.
 */
import { existsSync } from 'node:fs';
import { readFile, rm } from 'node:fs/promises';
import path from 'node:path';
import { writeAtomically } from '../run/manifest.js';
import type { LabContext } from '../util/context.js';
import { messageOf, systemCodeOf } from '../util/errors.js';
import { formatElapsed, type ProgressStep } from '../util/progress.js';
import { type BenchOptions, type Cell, cellSchema, type DoneCell, LANES, type Lane } from './report-data.js';
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
 * course of a bench changes for all of them. A load from the host is no work for the deterministic lane. Pure.
 */
export function planCells(options: BenchOptions, workloads: readonly Workload[]): CellPlan[] {
  return options.lanes.flatMap((lane) =>
    Array.from({ length: options.repeats[lane] }, (_, repeat) => repeat).flatMap((repeat) =>
      workloads
        .filter(({ loadedPort }) => lane === 'parallel' || loadedPort === undefined)
        .flatMap((workload) => options.configs.map((config) => ({ config, workload, lane, repeat }))),
    ),
  );
}

/** Names a cell's files. */
export function nameOf({ lane, workload, config, repeat }: CellPlan): string {
  return `${lane}-${workload.name}-${config}-${repeat}`;
}

/** Memory of the host for each cell: its guest's, QEMU's and the lab's. */
const CELL_BYTES = 1.5 * 2 ** 30;

export interface HostRoom {
  readonly cores: number;
  readonly memoryBytes: number;
}

/** How many cells of a lane run at once. Pure. */
export function cellsAtOnce(lane: Lane, { cores, memoryBytes }: HostRoom): number {
  return lane === 'parallel' ? 1 : Math.max(1, Math.min(cores, Math.floor(memoryBytes / CELL_BYTES)));
}

/** Works all items off in their order, `atOnce` at a time. After one that throws none is begun; those begun come to their end. */
async function inPool<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  let next = 0;
  let hasFailed = false;
  const worker = async () => {
    while (!hasFailed) {
      const item = items[next++];
      if (item === undefined) return;
      try {
        await work(item);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  const results = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  for (const result of results) if (result.status === 'rejected') throw result.reason;
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

export interface MeasureSpec {
  /** Of the cells' files. */
  readonly folder: string;
  /** What decides the result of a cell. */
  readonly digestOf: (cell: CellPlan) => string;
  readonly host: HostRoom;
  /** Throws if the cell fails. */
  readonly runCell: (cell: CellPlan, step: ProgressStep) => Promise<DoneCell>;
  /** Where a cell that fails leaves its run. */
  readonly runDirOf: (cell: CellPlan) => string;
}

/** Every cell of the plan; those that a former bench into the same folder measured of the same things are taken over. */
export async function measureCells(
  plan: readonly CellPlan[],
  spec: MeasureSpec,
  ctx: Pick<LabContext, 'log' | 'progress' | 'signal'>,
): Promise<Cell[]> {
  const fileOf = (one: CellPlan) => path.join(spec.folder, `${nameOf(one)}.json`);
  const cells = new Map<CellPlan, Cell>();
  for (const one of plan) {
    const kept = await earlier(fileOf(one), spec.digestOf(one));
    if (kept !== undefined) cells.set(one, kept);
  }
  const todo = plan.filter((one) => !cells.has(one));
  if (cells.size > 0) ctx.log.info(`${cells.size} of ${plan.length} cells were measured before`);
  const startedMs = performance.now();
  let measured = 0;
  const measure = async (one: CellPlan) => {
    const step = ctx.progress.step(nameOf(one));
    let cell: Cell;
    try {
      // What an earlier one left is no evidence of this one.
      await rm(spec.runDirOf(one), { recursive: true, force: true });
      ctx.signal.throwIfAborted();
      cell = await spec.runCell(one, step);
    } catch (error) {
      step.fail();
      ctx.signal.throwIfAborted();
      const { config, lane, repeat } = one;
      const runDir = existsSync(spec.runDirOf(one)) ? spec.runDirOf(one) : null;
      cell = { state: 'failed', config, workload: one.workload.name, lane, repeat, error: messageOf(error), runDir };
      ctx.log.error(
        `${nameOf(one)} failed${runDir === null ? '' : `, and its run is kept in ${runDir}`}: ${cell.error}`,
      );
    }
    await writeAtomically(fileOf(one), `${JSON.stringify({ digest: spec.digestOf(one), cell })}\n`);
    cells.set(one, cell);
    measured++;
    const left = todo.length - measured;
    const leftMs = ((performance.now() - startedMs) / measured) * left;
    step.done(left === 0 ? '' : `${left} of ${plan.length} cells left, about ${formatElapsed(leftMs)}`);
  };
  for (const lane of LANES) {
    const ofLane = todo.filter((one) => one.lane === lane);
    await inPool(ofLane, cellsAtOnce(lane, spec.host), measure);
  }
  return plan.flatMap((one) => cells.get(one) ?? []);
}
