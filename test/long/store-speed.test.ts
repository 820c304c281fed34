// SPDX-License-Identifier: MIT
/**
 * How fast `index` loads, and how fast the database answers. Loading is measured in seconds of processor time of all
 * threads together, which is what one core would take, whatever else the machine is doing.
 */
import { mkdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { parseQuestion, QueryDb } from '../../lab/store/query.js';
import { QUERIES } from '../../lab/store/views.js';
import { SegmentWriter } from '../../lab/trace/segment-writer.js';
import { lemona } from '../harness/command.js';
import { loadFolder, rowsOf, storeContext, useStore } from '../harness/store.js';
import { warmMemory } from '../harness/warm-memory.js';
import { SYNTH_START_NS, synthesize } from '../support/trace-synth.js';

const RECORDS = 5_000_000;
const WANTED_PER_SECOND = 300_000;
/** Each named query is asked so often, with other operands. */
const ASKED = 40;
const WANTED_P95_MS = 100;

async function write(runDir: string, seed: number): Promise<void> {
  await mkdir(runDir, { recursive: true });
  const writer = await SegmentWriter.create({ folder: path.join(runDir, 'segments'), now: () => SYNTH_START_NS });
  for (const subbuf of synthesize({ records: RECORDS, seed })) await writer.append(subbuf);
  await writer.close();
}

function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? 0;
}

/** More than the database and what it is made of take. */
const WARM_MIB = 3000;

describe('speed of the database', () => {
  const folder = useStore();

  it('loads 5 million records, and answers on 10 million', async () => {
    const db = path.join(folder(), 'index.db');
    await write(path.join(folder(), 'machines/a/boots/1'), 1);
    await warmMemory(WARM_MIB);
    const { status, stdout, stderr } = await lemona(['index', folder(), '--db', db, '--json'], folder());
    expect(status, stderr).to.equal(0);
    const { records, rows, seconds, cpuSeconds } = JSON.parse(stdout) as Record<string, number>;
    const perSecond = Number(records) / Number(cpuSeconds);
    const bytes = (await stat(db)).size;
    process.stderr.write(
      `    ${records} records as ${rows} rows in ${Number(seconds).toFixed(1)} s: ${Math.round(perSecond)} records/s and ` +
        `${Math.round(Number(rows) / Number(cpuSeconds))} rows/s of one core, indexes included; ` +
        `${(bytes / Number(records)).toFixed(1)} bytes a record\n`,
    );

    await write(path.join(folder(), 'machines/b/boots/2'), 2);
    await loadFolder(folder(), db);
    const times: number[] = [];
    const opened = await QueryDb.open(db, storeContext);
    try {
      for (const { name, args } of QUERIES) {
        const own: number[] = [];
        for (let n = 0; n < ASKED; n++) {
          const operands = args.map((arg) => operandFor(arg.name, n));
          const from = performance.now();
          await rowsOf(opened, parseQuestion([name, ...operands]));
          own.push(performance.now() - from);
        }
        own.sort((a, b) => a - b);
        process.stderr.write(
          `    query ${name}: median ${percentile(own, 0.5).toFixed(1)} ms, p95 ${percentile(own, 0.95).toFixed(1)} ms\n`,
        );
        times.push(percentile(own, 0.95));
      }
    } finally {
      await opened.close();
    }
    expect(perSecond).to.be.at.least(WANTED_PER_SECOND);
    expect(Math.max(...times)).to.be.at.most(WANTED_P95_MS);
  });
});

/** Operands that the made-up machine has, spread over its life. */
function operandFor(name: string, n: number): string {
  switch (name) {
    case 'PATH':
      return `/dir${(7 * n) % 200}/f${(997 * n) % 20_000}`;
    case 'PID':
      return n === 0 ? '1' : String(1000 + 250 * n);
    default:
      return `job${(37 * n) % 5000}`;
  }
}
