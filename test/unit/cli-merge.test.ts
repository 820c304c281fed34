// SPDX-License-Identifier: MIT
/** What `merge` says of sources that somebody has had in hand. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { callVerb } from '../harness/verb.js';
import { manifestOf, traceOf } from '../support/manifest.js';
import { writeSegments } from '../support/run-builder.js';
import { makeSealedRun } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';

/** Of CPU 0 and of CPU 1: each server has one of them. */
const SHARDS = [0, 1].map((cpu) =>
  [0n, 1n, 2n].map((number) =>
    b.subbuf([b.entry(39, [cpu]), b.nop(2n * number + BigInt(cpu) + 1n)], { cpu, number, issued: 2n * (number + 1n) }),
  ),
);

describe('merge', () => {
  let folder: string;
  const home = process.env.XDG_DATA_HOME;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    process.env.XDG_DATA_HOME = folder;
  });

  afterEach(async () => {
    if (home === undefined) delete process.env.XDG_DATA_HOME;
    else process.env.XDG_DATA_HOME = home;
    await rm(folder, { recursive: true });
  });

  async function shards(end: 'closed' | 'killed', state: 'complete' | 'recording'): Promise<string[]> {
    const dirs = ['a', 'b'].map((name) => path.join(folder, name));
    for (const [i, dir] of dirs.entries()) {
      const subbufs = SHARDS[i] ?? [];
      const isLast = i === 1;
      const trace = traceOf(isLast && end === 'killed' ? [] : subbufs);
      const manifest = manifestOf({ name: path.basename(dir), smp: 2, state: isLast ? state : 'complete', trace });
      const shape = { subbufs, limitBytes: 1, acts: 0, end: isLast ? end : ('closed' as const) };
      await makeSealedRun(dir, path.join(folder, 'lemona-lab'), {
        ...shape,
        files: { 'run.json': JSON.stringify(manifest) },
      });
    }
    return dirs;
  }

  const merge = (dirs: readonly string[]) => callVerb('merge', ...dirs, '--run', 'm', '--runs', folder, '--quiet');

  it('ends with 0 where chains are closed and the machine said that it was all', async () => {
    const { status, stdout } = await merge(await shards('closed', 'complete'));
    expect(stdout).to.match(/6 sub-buffers, \d+ bytes: complete$/m);
    expect(status).to.equal(0);
  });

  it('ends with 1 where a source was written to, though its sub-buffers are good ones', async () => {
    const dirs = await shards('closed', 'complete');
    const forged = SHARDS[1]?.map((bytes, i) =>
      i === 1 ? b.subbuf([b.entry(40, [1]), b.nop(4n)], { cpu: 1, number: 1n, issued: 4n }) : bytes,
    );
    await rm(path.join(dirs[1] ?? '', 'segments'), { recursive: true });
    await writeSegments(dirs[1] ?? '', forged ?? [], 1);
    const { status, stdout } = await merge(dirs);
    expect(stdout)
      .to.match(/^cpu 1: sub-buffers 0 to 2: NOT PROVEN/m)
      .and.to.match(/: complete, but NOT proven$/m);
    expect(status).to.equal(1);
  });

  it('ends with 1 where the record of a whole CPU is on a server that is not named', async () => {
    const [, second] = await shards('closed', 'complete');
    // Its numbers have holes; of the one that a CPU without effects leaves, `run-merge.test.ts` tells.
    const { status, stdout } = await merge([second ?? '']);
    expect(stdout)
      .to.match(/^cpu 0: NOTHING in any source/m)
      .and.to.match(/: NOT proven complete: no source has anything of CPU 0$/m);
    expect(status).to.equal(1);
  });

  it('ends with 1 where a server was killed, and nobody knows what was to come', async () => {
    const { status, stdout } = await merge(await shards('killed', 'recording'));
    expect(stdout)
      .to.match(/NO END/)
      .and.to.match(/NOT proven complete: no source with an end has all of it$/m);
    expect(status).to.equal(1);
  });
});
