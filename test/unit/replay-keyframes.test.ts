// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { parseStepCommand } from '../../lab/cli/verbs/step.js';
import { writeManifest } from '../../lab/run/manifest.js';
import type { Findings } from '../../replay/control.js';
import {
  deleteKeyframes,
  keyframeFolder,
  nearestKeyframe,
  readKeyframes,
  releaseKeyframes,
  spacingFor,
  takeKeyframes,
  writeKeyframes,
} from '../../replay/keyframes.js';
import { callVerb } from '../harness/verb.js';
import { failureOf } from '../support/failure.js';
import { manifestOf } from '../support/manifest.js';
import { withRun } from '../support/run-builder.js';

const findings: Findings = {
  mismatches: 20n,
  first: [{ seq: 2n ** 60n, op: 'WRITE', ino: 12n, gen: 7, what: 'size', wanted: '1', seen: '2', errno: 0 }],
  taintCount: 1n,
  taints: [{ seq: 5n, reason: 1, text: 'raw write' }],
  waiting: { from: 2n ** 60n, op: 'RENAME', ino: 13n, gen: 8 },
};
const keyframes = [0n, 100n, 2n ** 60n].map((seq) => ({ seq, tag: `seq-${seq}`, findings }));

describe('keyframes', () => {
  it('are found by the last one that is not later', () => {
    expect([0n, 99n, 100n, 101n, 2n ** 60n + 1n].map((seq) => nearestKeyframe(keyframes, seq)?.seq)).to.deep.equal([
      0n,
      0n,
      100n,
      100n,
      2n ** 60n,
    ]);
    expect(nearestKeyframe(keyframes.slice(1), 99n)).to.equal(undefined);
  });

  it('stay at half a second from each other until a run is so long that they would be too many', () => {
    expect(spacingFor(1_000_000n, 400_000_000)).to.deep.equal({ effects: 12_000, bytes: 48_000_000 });
    expect(spacingFor(256_000_000n, 400_000_000).effects).to.equal(1_000_000);
  });

  it('are those of one identity: another kernel or another record has none', async () => {
    await withRun([], async (runDir) => {
      const place = keyframeFolder(runDir);
      expect(await readKeyframes(place, 'a')).to.deep.equal([]);
      await takeKeyframes(place);
      await writeKeyframes(place, { identity: 'a', keyframes });
      expect(await readKeyframes(place, 'a')).to.deep.equal(keyframes);
      expect(await readKeyframes(place, 'b')).to.deep.equal([]);
      await writeFile(path.join(place.folder, 'keyframes.json'), '{"identity":"a","keyfr');
      expect(await readKeyframes(place, 'a')).to.deep.equal([]);
      await deleteKeyframes(place);
      expect(await readKeyframes(place, 'a')).to.deep.equal([]);
    });
  });

  it('are of one process at a time, which nobody deletes them from', async () => {
    const runs = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    try {
      const runDir = path.join(runs, 'r');
      const place = keyframeFolder(runDir);
      const drop = () => callVerb('keyframes', 'r', '--delete', '--runs', runs, '--quiet');
      await takeKeyframes(place);
      await writeManifest(path.join(runDir, 'run.json'), manifestOf({ name: 'r' }));
      await writeKeyframes(place, { identity: 'a', keyframes });
      for (const other of [takeKeyframes(place), drop()]) {
        const error = await failureOf(other);
        expect(error.code).to.equal('LAB_RUN_STATE');
        expect(error.message).to.contain(`process ${process.pid} uses the keyframes`);
      }
      expect(await readKeyframes(place, 'a')).to.deep.equal(keyframes);
      await releaseKeyframes(place);
      expect((await drop()).status).to.equal(0);
      expect(await readdir(place.folder)).to.deep.equal([]);
    } finally {
      await rm(runs, { recursive: true });
    }
  });
});

describe('the commands of step', () => {
  it('are read, and what is none is refused', () => {
    expect(parseStepCommand(' goto mark:a b ')).to.deep.equal({ kind: 'goto', instant: 'mark:a b' });
    expect(parseStepCommand('next')).to.deep.equal({ kind: 'step', count: 1 });
    expect(parseStepCommand('prev 20')).to.deep.equal({ kind: 'step', count: -20 });
    expect(parseStepCommand('export /tmp/a b.raw')).to.deep.equal({ kind: 'export', file: '/tmp/a b.raw' });
    for (const bad of ['go', 'goto', 'next x', 'prev -1', 'where now', 'export'])
      expect(() => parseStepCommand(bad), bad).to.throw('is no command');
  });
});
