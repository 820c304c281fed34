// SPDX-License-Identifier: MIT
/** What reads a run stays small, however long the run was: here of a guest that idled for 17 hours on 4 CPUs. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';
import { writeManifest } from '../../lab/run/manifest.js';
import { LEMONA } from '../harness/command.js';
import { writeIdleRun } from '../support/idle-run.js';
import { manifestOf } from '../support/manifest.js';

const SUBBUFS = 5_000_000;
const MOST_KIB = 300_000;
const POLL_MS = 50;

/** Runs a program. @returns what it printed, and the most memory it had, in KiB */
async function measured(program: string, args: readonly string[]): Promise<{ output: string; peakKiB: number }> {
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] });
  const closed = once(child, 'close');
  let output = '';
  child.stdout.on('data', (chunk: Buffer) => {
    output += chunk.toString('latin1');
  });
  let peakKiB = 0;
  while (child.exitCode === null) {
    // The kernel keeps the most there was: only what came after the last look could be missed.
    const status = await readFile(`/proc/${child.pid}/status`, 'latin1').catch(() => '');
    peakKiB = Math.max(peakKiB, Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0));
    await sleep(POLL_MS);
  }
  await closed;
  expect(child.exitCode, `${program} ${args.join(' ')}`).to.equal(0);
  return { output, peakKiB };
}

describe('a run of five million nearly empty sub-buffers', () => {
  let folder: string;
  let effects: bigint;
  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-long-'));
    const runDir = path.join(folder, 'idle');
    const written = await writeIdleRun(runDir, { cpus: 4, subbufs: SUBBUFS, effectEvery: 8 });
    effects = written.effects;
    const trace = { segments: 0, bytes: written.bytes, subbufs: SUBBUFS, tornBytes: 0 };
    await writeManifest(path.join(runDir, 'run.json'), manifestOf({ trace }));
  });
  after(() => rm(folder, { recursive: true, force: true }));

  const verb = (...words: readonly string[]) => measured(LEMONA, [...words, '--runs', folder]);

  it('is counted in less than 300 MB', async () => {
    const { output, peakKiB } = await verb('stats', 'idle');
    expect(output).to.include(`${SUBBUFS} sub-buffers`).and.to.include(`effects: ${effects}, numbers 1 to ${effects}`);
    expect(peakKiB).to.be.within(1, MOST_KIB);
  });

  it('is listed in less than 300 MB', async () => {
    const first = await verb('events', 'idle', '--limit', '10');
    expect(first.output.trim().split('\n')).to.have.length(10);
    // Every record is looked at, and none is shown.
    const none = await verb('events', 'idle', '--kind', 'loss');
    expect(none.output).to.equal('');
    for (const { peakKiB } of [first, none]) expect(peakKiB).to.be.within(1, MOST_KIB);
  });

  it('is planned for a rebuild in less than 300 MB', async () => {
    const { output, peakKiB } = await measured(process.execPath, [
      ...['--import', path.join(ROOT, 'node_modules/tsx/dist/loader.mjs')],
      ...[path.join(ROOT, 'test/long/read-plan.ts'), path.join(folder, 'idle')],
    ]);
    expect(output).to.equal(`${effects}\n`);
    expect(peakKiB).to.be.within(1, MOST_KIB);
  });
});
