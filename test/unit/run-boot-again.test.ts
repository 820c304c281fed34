// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { bootsAgain, failedBootProblem } from '../../lab/run/boot-again.js';
import { createRunFolder, keepFailedBoot } from '../../lab/run/folder.js';
import { LabError } from '../../lab/util/errors.js';
import { problemsOf } from '../harness/problems.js';

const stale = new LabError(
  'LAB_GUEST_PANIC',
  "the guest's hello: the guest's kernel crashed (QEMU: exit status 0)\nthe guest's kernel said:\n  Oops: int3: 0000 [#1] SMP",
);

describe('a boot that failed', () => {
  it('is tried again if QEMU broke the guest before it said hello, twice at most', () => {
    const again = (attempt: number) => bootsAgain({ attempt, hasBooted: false, error: stale });
    expect([1, 2, 3, 4].map(again)).to.deep.equal([true, true, false, false]);
  });

  it('is the outcome of the run in every other case', () => {
    const others = [
      { attempt: 1, hasBooted: true, error: stale },
      { attempt: 1, hasBooted: false, error: new LabError('LAB_GUEST_PANIC', 'Oops: general protection fault: 0000') },
      { attempt: 1, hasBooted: false, error: new LabError('LAB_VM_NO_HELLO', 'nothing within 180 s; Oops: int3') },
      { attempt: 1, hasBooted: false, error: new Error(stale.message) },
    ];
    expect(others.map(bootsAgain)).to.deep.equal([false, false, false, false]);
  });

  it('is named with its first line, its folder, and the command that repeats it', () => {
    const text = failedBootProblem({ attempt: 2, hasBooted: false, error: stale }, '/r/one/boots/2');
    expect(text).to.match(/^boot 2 failed before the guest said hello.*the guest's kernel crashed/);
    expect(text).to.include('sh /r/one/boots/2/reproduce.sh');
    expect(text).not.to.include('\n');
    expect(problemsOf({ problems: [text, 'a torn segment'] }), 'no matter to a test').to.deep.equal(['a torn segment']);
  });
});

describe('the folder of a boot that failed', () => {
  let runs: string;
  beforeEach(async () => {
    runs = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });
  afterEach(() => rm(runs, { recursive: true }));

  it('is kept within the next one, whose own files begin anew', async () => {
    const dir = path.join(runs, 'one');
    const folder = await createRunFolder(dir, false);
    for (const attempt of [1, 2]) {
      await writeFile(folder.manifestFile, `of boot ${attempt}`);
      await writeFile(path.join(folder.segmentsDir, '000000.seg'), `record ${attempt}`);
      expect(await keepFailedBoot(folder, attempt)).to.equal(path.join(dir, 'boots', String(attempt)));
      expect((await readdir(dir)).sort()).to.deep.equal(['boots', 'checkpoints', 'disk', 'segments']);
      expect(await readdir(folder.segmentsDir)).to.deep.equal([]);
    }
    for (const attempt of [1, 2]) {
      const kept = path.join(dir, 'boots', String(attempt));
      expect(await readFile(path.join(kept, 'run.json'), 'utf8')).to.equal(`of boot ${attempt}`);
      expect(await readFile(path.join(kept, 'segments/000000.seg'), 'utf8')).to.equal(`record ${attempt}`);
    }
  });

  it('is replaced with the whole run, by force only', async () => {
    const dir = path.join(runs, 'one');
    const folder = await createRunFolder(dir, false);
    await writeFile(folder.manifestFile, '{}');
    await keepFailedBoot(folder, 1);
    await writeFile(folder.manifestFile, '{}');
    await createRunFolder(dir, true);
    expect((await readdir(dir)).sort()).to.deep.equal(['checkpoints', 'disk', 'segments']);
  });
});
