// SPDX-License-Identifier: MIT
/** Kills the inserter at random moments, and compares what is there in the end with a load that nobody disturbed. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { testSeed } from '../harness/boot.js';
import { LEMONA } from '../harness/command.js';
import { dump, loadFolder, useStore } from '../harness/store.js';
import { writeSegments } from '../support/run-builder.js';
import { synthesize } from '../support/trace-synth.js';

const KILLS = 50;
const RECORDS = 200_000;
const SEGMENT_BYTES = 100_000;
/** From the first sign of loading to the kill, at most. */
const LATEST_MS = 1500;

describe('an inserter that is killed', () => {
  const folder = useStore();

  /** Runs `index` and kills it at some moment of its loading. @returns whether it was killed before its end */
  async function indexAndKill(db: string, afterMs: number): Promise<boolean> {
    const child = spawn(LEMONA, ['index', `${folder()}/`, '--db', db], { stdio: ['ignore', 'ignore', 'pipe'] });
    const closed = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>;
    let said = '';
    let timer: NodeJS.Timeout | undefined;
    child.stderr.on('data', (chunk: Buffer) => {
      said += chunk.toString('utf8');
      if (said.includes('load into')) timer ??= setTimeout(() => child.kill('SIGKILL'), afterMs);
    });
    const [status, signal] = await closed;
    clearTimeout(timer);
    expect(signal === 'SIGKILL' || status === 0, `status ${status}: ${said}`).to.equal(true);
    return signal === 'SIGKILL';
  }

  it(`loses and doubles no row over ${KILLS} kills`, async () => {
    let random = testSeed();
    const next = (): number => {
      random = (random * 48_271) % 2_147_483_647;
      return random / 2_147_483_647;
    };
    await writeSegments(folder(), [...synthesize({ records: RECORDS, cpus: 4 })], SEGMENT_BYTES);
    const whole = path.join(folder(), 'whole.db');
    const { segments } = await loadFolder(folder(), whole, { name: path.basename(folder()) });
    const wanted = await dump(whole);
    let kills = 0;
    let rounds = 0;
    while (kills < KILLS) {
      const db = path.join(folder(), `${rounds++}.db`);
      while (await indexAndKill(db, next() * LATEST_MS)) kills++;
      expect(await dump(db)).to.deep.equal(wanted);
      await rm(db);
    }
    process.stderr.write(
      `    ${kills} kills in ${rounds} loads of ${segments} segments, ${wanted.length} rows compared\n`,
    );
  });
});
