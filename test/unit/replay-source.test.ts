// SPDX-License-Identifier: MIT
import path from 'node:path';
import { expect } from 'chai';
import { type RunManifest, writeManifest } from '../../lab/run/manifest.js';
import { describeWaiting, type Findings } from '../../replay/control.js';
import { lostEffects } from '../../replay/lost.js';
import { shortfallsOf, summaryOf, warningsOf } from '../../replay/shortfalls.js';
import { gapsOf, lastSeqOf, openSource, type RebuildSource, seqOf } from '../../replay/source.js';
import { manifestOf, traceOf } from '../support/manifest.js';
import { withRun } from '../support/run-builder.js';
import { start, subbuf, write } from '../support/trace-builder.js';

const SUBBUFS = [subbuf([start(1n), write({ seq: 2n }, 0n, 'x'), write({ seq: 3n }, 0n, 'x')])];
const START: RunManifest['checkpoints'][number] = { name: 'start', seq: '0', snapshot: null, sha256: 'a'.repeat(64) };
const mark = (label: string, seq: string): RunManifest['marks'][number] => ({
  label,
  seq,
  realNs: '0',
  snapshot: `mark-${label}`,
});
const signal = new AbortController().signal;
const NONE: Findings = { mismatches: 0n, first: [], taintCount: 0n, taints: [] };

async function withSource<T>(change: Partial<RunManifest>, use: (source: RebuildSource) => Promise<T>): Promise<T> {
  return withRun(SUBBUFS, async (runDir) => {
    const manifest = manifestOf({ checkpoints: [START], trace: traceOf(SUBBUFS), ...change });
    await writeManifest(path.join(runDir, 'run.json'), manifest);
    const source = await openSource(runDir, signal);
    try {
      return await use(source);
    } finally {
      await source.index.close();
    }
  });
}

describe('the end of a record', () => {
  it('is where its last effect is', () =>
    withSource({ marks: [mark('end', '3')] }, async (source) => {
      expect(lastSeqOf(source)).to.equal(3n);
      expect((await gapsOf(source, signal)).listed).to.deep.equal([]);
    }));

  it('is no end if a mark was made after it: what lies between is missing, and nothing is known of it', () =>
    withSource({ marks: [mark('a', '2'), mark('b', '7')] }, async (source) => {
      expect(lastSeqOf(source)).to.equal(7n);
      expect(await seqOf(source, 'end', signal)).to.equal(7n);
      const gaps = await gapsOf(source, signal);
      expect(gaps.listed).to.deep.equal([{ type: 'gap', first: 4n, last: 7n, isDeclared: false }]);
      const lost = lostEffects(gaps, source.index.lost, 1);
      expect([...lost.upTo(3n)]).to.deep.equal([]);
      expect([...lost.upTo(7n)].map(({ ino }) => ino)).to.deep.equal([0n]);
    }));
});

describe('what speaks against a rebuilt disk', () => {
  const trace = { ...traceOf(SUBBUFS), bytes: 100_000 };

  it('is nothing of a whole record', () =>
    withSource({}, async (source) => {
      const whole = shortfallsOf(source, [], NONE, true);
      expect([whole.isVouchedFor, summaryOf(whole)]).to.deep.equal([true, '']);
      expect(warningsOf({ ...whole, unvouched: [] })).to.deep.equal([]);
    }));

  it('is, at its end only, that a record was cut off', () =>
    withSource({ trace }, async (source) => {
      const inside = shortfallsOf(source, [], NONE, false);
      expect([inside.isVouchedFor, inside.isCutOff, summaryOf(inside)]).to.deep.equal([true, false, '']);
      const end = shortfallsOf(source, [], NONE, true);
      expect([end.isVouchedFor, end.isCutOff]).to.deep.equal([false, true]);
      expect(summaryOf(end)).to.equal('the record is cut off here, its segments are damaged');
      expect(warningsOf({ ...end, unvouched: [] })[0]).to.contain('the rest was cut off or damaged');
    }));

  it('is said in a few words, and in all', () =>
    withSource({}, async (source) => {
      const gaps = [{ type: 'gap', first: 7n, last: 9n, isDeclared: true } as const];
      const first = [{ seq: 8n, op: 'WRITE', ino: 1n, gen: 2, what: 'size', wanted: '1', seen: '2', errno: 0 }];
      const taints = [{ seq: 5n, reason: 1, text: 'raw write' }];
      const waiting = { from: 10n, op: 'RENAME', ino: 3n, gen: 4 };
      const all = shortfallsOf(source, gaps, { mismatches: 20n, first, taintCount: 1n, taints, waiting }, false);
      expect(all.isVouchedFor).to.equal(false);
      expect(summaryOf(all)).to.equal(
        'effects 7 to 9 are missing, 20 mismatches, 1 taint, effects from 10 on wait for a birth',
      );
      expect(warningsOf({ ...all, unvouched: [{ path: '/a', what: ['times'], ranges: [] }] })).to.deep.equal([
        'effects 7 to 9 are missing from the record',
        'not vouched for: /a: times',
        'WRITE 8 on inode 1/2: size: wanted 1, seen 2',
        describeWaiting(waiting),
        'not described by effects: seq 5: raw write',
      ]);
    }));
});
