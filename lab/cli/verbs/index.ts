// SPDX-License-Identifier: MIT
import path from 'node:path';
import { baseOfRun } from '../../parts/base-names.js';
import { goneSince, SUDDEN_END } from '../../run/arrived.js';
import { findRunDir, type OpenRun, openRun } from '../../run/folder.js';
import { mayGrow } from '../../run/growing.js';
import type { TraceSource } from '../../store/inserter.js';
import { findTraces, Load, type LoadSum, loadAll, type Sources } from '../../store/load.js';
import { isPostgres } from '../../store/postgres-db.js';
import { PostgresStore } from '../../store/postgres-store.js';
import { SqliteStore } from '../../store/sqlite-store.js';
import type { Store } from '../../store/store.js';
import type { LabContext } from '../../util/context.js';
import { LabError } from '../../util/errors.js';
import type { Log } from '../../util/log.js';
import type { Invocation } from '../invocation.js';

/** As many say what there is to say. */
const DAMAGE_LINES = 10;

export const DATABASE_NAME = 'index.db';

async function sourcesOf(operand: string, isFollowed: boolean, ctx: LabContext): Promise<Sources> {
  const folder = findRunDir(ctx.runsDir, operand);
  const name = path.basename(folder);
  if (operand.includes('/')) {
    const find = () => findTraces(folder, name, (dir) => mayGrow(dir, isFollowed));
    return async () => ({ traces: await find(), mayCome: isFollowed });
  }
  const base = await baseOfRun(await openRun(folder), ctx);
  return async () => {
    const { dir, segmentsDir } = await openRun(folder);
    return { traces: [{ name, folder: segmentsDir, base, isGrowing: () => mayGrow(dir, false) }], mayCome: false };
  };
}

/** What arrived of a run and is in no segment that was loaded. */
async function goneFrom(store: Store, { name, manifest }: OpenRun): Promise<string | undefined> {
  const [row] = await store.select(
    'SELECT sum(s.subbufs) AS subbufs, sum(s.bytes) AS bytes FROM segments s JOIN traces t ON t.id = s.trace WHERE t.name = {text 1}',
    [name],
  );
  return goneSince(manifest.trace, { subbufs: Number(row?.subbufs ?? 0), bytes: Number(row?.bytes ?? 0) });
}

/** Says what of the segments is damaged, loaded now or before: what was read of them is there, and no more. */
async function tellDamage(store: Store, run: OpenRun | undefined, log: Log): Promise<boolean> {
  const kinds = [...SUDDEN_END].map((kind) => `'${kind}'`).join(', ');
  const rows = await store.select(
    `SELECT t.name, p.segment, p.at_byte, p.kind, p.detail FROM problems p JOIN traces t ON t.id = p.trace
 WHERE p.kind NOT IN (${kinds}) ORDER BY p.id LIMIT ${DAMAGE_LINES + 1}`,
  );
  for (const { name, segment, at_byte, kind, detail } of rows.slice(0, DAMAGE_LINES))
    log.warn(`${name}: segment ${segment} at ${at_byte}: ${kind}: ${detail}`);
  if (rows.length > DAMAGE_LINES) log.warn('there is more: the table `problems` has all of it');
  const gone = run === undefined ? undefined : await goneFrom(store, run);
  if (gone !== undefined) log.warn(gone);
  return rows.length > 0 || gone !== undefined;
}

/** `index`: loads what is sealed and not loaded yet; 1 if something of it is damaged. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const isFollowed = invocation.bool('follow');
  const sources = await sourcesOf(invocation.run, isFollowed, ctx);
  if (!isFollowed && (await sources()).traces.length === 0) {
    throw new LabError('LAB_RUN_UNKNOWN', `${invocation.run}: there are no segments in it`, {
      next: 'name a run, or a folder that holds segments/, boots/ or machines/',
    });
  }
  const where = invocation.string('db') ?? path.join(findRunDir(ctx.runsDir, invocation.run), DATABASE_NAME);
  const store: Store = isPostgres(where) ? await PostgresStore.open(where) : await SqliteStore.open(where, ctx);
  const beganMs = performance.now();
  const began = process.cpuUsage();
  const step = ctx.progress.step(`load into ${store.label}`);
  step.update('what is there');
  let leftOut = 0;
  const load = new Load(store, ctx.signal, {
    onSegment: ({ segments, records }) => step.update(`${segments} segments, ${records} records`),
    // Of a fleet, one machine's must not keep the others out.
    ...(invocation.run.includes('/')
      ? {
          onLeftOut: ({ name }: TraceSource, { message, next }: LabError) => {
            leftOut++;
            ctx.log.warn(`${name} is left out: ${message}${next === undefined ? '' : `; ${next}`}`);
          },
        }
      : {}),
  });
  let isDamaged: boolean;
  try {
    await loadAll(load, store, sources, isFollowed, ctx.signal);
    step.done(`${load.sum.segments} segments`);
    for (const name of load.growing)
      ctx.log.info(`${name}: its record may go on; what is not sealed yet, and its last second, are left for later`);
    const run = invocation.run.includes('/') ? undefined : await openRun(findRunDir(ctx.runsDir, invocation.run));
    isDamaged = await tellDamage(store, run, ctx.log);
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    await store.close();
  }
  await tellRates(invocation, store, load.sum, {
    seconds: (performance.now() - beganMs) / 1000,
    cpuSeconds: cpuSecondsSince(began),
  });
  return isDamaged || leftOut > 0 ? 1 : 0;
}

/** Of all threads: what one core would take. A server's own, in PostgreSQL, is not in it. */
function cpuSecondsSince(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1e6;
}

async function tellRates(
  invocation: Invocation,
  { label, rows }: Store,
  sum: LoadSum,
  times: { readonly seconds: number; readonly cpuSeconds: number },
): Promise<void> {
  const { seconds, cpuSeconds } = times;
  const per = (count: number, time: number) => Math.round(count / Math.max(time, 0.001));
  const [recordsPerSecond, rowsPerSecond] = [per(sum.records, seconds), per(rows, seconds)];
  if (invocation.json) {
    await invocation.out.json({ db: label, ...sum, rows, ...times, recordsPerSecond, rowsPerSecond });
    return;
  }
  const loaded = `${sum.segments} segments of ${sum.traces} traces loaded: ${sum.records} records as ${rows} rows`;
  const rates = `${recordsPerSecond} records/s, ${rowsPerSecond} rows/s; ${per(sum.records, cpuSeconds)} records/s of one core`;
  await invocation.out.line(`${label}: ${loaded} in ${seconds.toFixed(1)} s (${rates})`);
}
