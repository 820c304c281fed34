// SPDX-License-Identifier: MIT
import path from 'node:path';
import { baseOfRun } from '../../parts/base-names.js';
import { openRun, runDirOf } from '../../run/folder.js';
import type { TraceSource } from '../../store/inserter.js';
import { findTraces, Load } from '../../store/load.js';
import { SqliteStore } from '../../store/sqlite-store.js';
import type { LabContext } from '../../util/context.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

export const DATABASE_NAME = 'index.db';

/** A run by its name; whatever has a slash in it is a folder. */
export function folderOf(operand: string, runsDir: string): string {
  return operand.includes('/') ? path.resolve(operand) : runDirOf(runsDir, operand);
}

/** The traces of an operand, and whether they are still being written. */
async function sourcesOf(
  operand: string,
  ctx: LabContext,
): Promise<{ readonly sources: readonly TraceSource[]; readonly isGrowing: boolean }> {
  const folder = folderOf(operand, ctx.runsDir);
  const name = path.basename(folder);
  if (operand.includes('/')) return { sources: await findTraces(folder, name), isGrowing: false };
  const run = await openRun(folder);
  const base = await baseOfRun(run, ctx);
  return {
    sources: [{ name, folder: run.segmentsDir, base }],
    isGrowing: run.manifest.state === 'recording',
  };
}

/** `index`: loads what is sealed and not loaded yet. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const { sources, isGrowing } = await sourcesOf(invocation.run, ctx);
  if (sources.length === 0) {
    throw new LabError('LAB_RUN_UNKNOWN', `${invocation.run}: there are no segments in it`, {
      next: 'name a run, or a folder that holds segments/, boots/ or machines/',
    });
  }
  const file = invocation.string('db') ?? path.join(folderOf(invocation.run, ctx.runsDir), DATABASE_NAME);
  const store = await SqliteStore.open(file, ctx);
  const began = { ms: performance.now(), cpu: process.cpuUsage() };
  const step = ctx.progress.step(`load into ${file}`);
  try {
    const load = new Load(store, ctx.signal, ({ segments, records }) =>
      step.update(`${segments} segments, ${records} records`),
    );
    await load.pass(sources, !isGrowing);
    await store.finish();
    const seconds = (performance.now() - began.ms) / 1000;
    const { user, system } = process.cpuUsage(began.cpu);
    const cpuSeconds = (user + system) / 1e6;
    const { sum } = load;
    const rate = Math.round(sum.records / Math.max(seconds, 0.001));
    const result = { db: file, ...sum, seconds, cpuSeconds, recordsPerSecond: rate };
    step.done(`${sum.segments} segments, ${sum.records} records, ${rate} records/s`);
    if (invocation.json) await invocation.out.json(result);
    else {
      await invocation.out.line(
        `${file}: ${sum.segments} segments of ${sum.traces} traces loaded: ${sum.records} records in ${seconds.toFixed(1)} s (${rate} records/s)`,
      );
    }
    return 0;
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    await store.close();
  }
}
