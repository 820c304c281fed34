// SPDX-License-Identifier: MIT
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { parseStepCommand } from '../../lab/cli/verbs/step.js';
import {
  deleteKeyframes,
  keyframeFolder,
  makeKeyframeFolder,
  nearestKeyframe,
  readKeyframes,
  spacingFor,
  writeKeyframes,
} from '../../replay/keyframes.js';
import { withRun } from '../support/run-builder.js';

const keyframes = [0n, 100n, 2n ** 60n].map((seq) => ({ seq, tag: `seq-${seq}`, mismatches: 0n }));

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
      await makeKeyframeFolder(place);
      await writeKeyframes(place, { identity: 'a', keyframes });
      expect(await readKeyframes(place, 'a')).to.deep.equal(keyframes);
      expect(await readKeyframes(place, 'b')).to.deep.equal([]);
      await writeFile(path.join(place.folder, 'keyframes.json'), '{"identity":"a","keyfr');
      expect(await readKeyframes(place, 'a')).to.deep.equal([]);
      await deleteKeyframes(place);
      expect(await readKeyframes(place, 'a')).to.deep.equal([]);
    });
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
