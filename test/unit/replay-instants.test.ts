// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { partOf } from '../../lab/trace/parts.js';
import { indexRun } from '../../lab/trace/run-index.js';
import { LabError } from '../../lab/util/errors.js';
import { parseInstant, resolveInstant, resolveWithoutClock } from '../../replay/instants.js';
import { withRun } from '../support/run-builder.js';
import { loss, start, subbuf, write } from '../support/trace-builder.js';

const SECOND = 1_000_000_000n;
const FACTS = {
  runName: 'r',
  checkpointSeq: 10n,
  lastSeq: 50n,
  marks: [
    { label: 'a', seq: 20n },
    { label: 'end', seq: 48n },
  ],
};

function failure(work: () => unknown): LabError {
  try {
    work();
  } catch (error) {
    if (error instanceof LabError) return error;
    throw error;
  }
  throw new Error('it did not fail');
}

describe('an instant', () => {
  it('is read in each of its forms', () => {
    expect(parseInstant('start')).to.deep.equal({ kind: 'start' });
    expect(parseInstant('mark:before the end')).to.deep.equal({ kind: 'mark', label: 'before the end' });
    expect(parseInstant('seq:9007199254740993')).to.deep.equal({ kind: 'seq', seq: 9007199254740993n });
    expect(parseInstant('+12.5s')).to.deep.equal({ kind: 'offset', ns: 12_500_000_000n });
    expect(parseInstant('+3')).to.deep.equal({ kind: 'offset', ns: 3n * SECOND });
  });

  it('keeps the nanoseconds of an ISO time', () => {
    const expected = { kind: 'wall', ns: 1_700_000_000_123_456_789n };
    expect(parseInstant('2023-11-14T22:13:20.123456789Z')).to.deep.equal(expected);
    expect(parseInstant('2023-11-14T23:13:20.123456789+01:00')).to.deep.equal(expected);
    expect(parseInstant('2023-11-14 22:13:20.123456789')).to.deep.equal(expected);
  });

  it('of no known form is a usage error that names the forms', () => {
    for (const text of ['', 'mark:', 'seq:-1', 'seq:', '+s', 'yesterday', '2023-13-45T00:00:00Z', '-3s']) {
      const error = failure(() => parseInstant(text));
      expect(error.code, text).to.equal('LAB_USAGE');
      expect(error.next).to.contain('mark:LABEL');
    }
  });

  it('is on a day that the calendar has', () => {
    expect(parseInstant('2024-02-29T00:00:00Z')).to.deep.equal({ kind: 'wall', ns: 1_709_164_800n * SECOND });
    for (const day of ['2026-02-29', '2026-02-30', '2026-04-31', '2026-00-10', '2026-13-01']) {
      const error = failure(() => parseInstant(`${day}T12:00:00+02:00`));
      expect(error.code, day).to.equal('LAB_USAGE');
      expect(error.message).to.contain(`the calendar has no ${day}`);
    }
  });
});

describe('resolving an instant without a clock', () => {
  const at = (text: string, facts = FACTS) => resolveWithoutClock(parseInstant(text), facts);

  it('knows start, end and marks', () => {
    expect(at('start')).to.equal(10n);
    expect(at('end')).to.equal(48n);
    expect(at('mark:a')).to.equal(20n);
  });

  it('takes the last effect for the end of a run that has no mark of that name', () => {
    expect(at('end', { ...FACTS, marks: [] })).to.equal(50n);
    expect(at('end', { ...FACTS, marks: [], lastSeq: 0n })).to.equal(10n);
  });

  it('lists the marks when one is unknown', () => {
    const error = failure(() => at('mark:b'));
    expect(error.code).to.equal('LAB_INSTANT_UNKNOWN');
    expect(error.next).to.contain('a, end');
  });

  it('refuses numbers before the checkpoint and after the last effect', () => {
    expect(at('seq:10')).to.equal(10n);
    expect(at('seq:50')).to.equal(50n);
    for (const text of ['seq:9', 'seq:51']) expect(failure(() => at(text)).code).to.equal('LAB_INSTANT_UNKNOWN');
  });
});

describe('resolving a time', () => {
  // cpu 0: seq 1 at 0 s, seq 2 at 2 s, seq 5 at 4 s; cpu 1, whose base is 1 s later: seq 3 at 1 s, seq 4 at 3 s.
  const base = { monoNs: 100n * SECOND, realNs: 1_700_000_000n * SECOND };
  const dt = (seconds: number) => seconds * 1_000_000_000;
  const subbufs = [
    subbuf([start(1n), write({ seq: 2n, dt: dt(2) }, 0n, 'x'), write({ seq: 5n, dt: dt(4) }, 0n, 'x')], base),
    subbuf([write({ seq: 3n }, 0n, 'x'), write({ seq: 4n, dt: dt(2) }, 0n, 'x')], {
      cpu: 1,
      monoNs: base.monoNs + SECOND,
      realNs: base.realNs + SECOND,
    }),
  ];
  const resolve = (text: string) =>
    withRun(subbufs, async (runDir) =>
      resolveInstant(text, runDir, await indexRun(runDir), { runName: 'r', checkpointSeq: 0n, marks: [] }),
    );

  it('finds the highest number that is not later', async () => {
    expect(await resolve('+0s')).to.equal(1n);
    expect(await resolve('+1.5s')).to.equal(3n);
    expect(await resolve('+2s')).to.equal(3n);
    expect(await resolve('+3s')).to.equal(4n);
    expect(await resolve('+3.999999999s')).to.equal(4n);
    expect(await resolve('+4s')).to.equal(5n);
    expect(await resolve('+100s')).to.equal(5n);
    expect(await resolve('2023-11-14T22:13:23Z')).to.equal(4n);
  });

  it('takes in what is lost behind the last effect that is not later: it may not be later either', async () => {
    const lossy = [
      subbuf([start(1n), write({ seq: 2n, dt: dt(1) }, 0n, 'x'), write({ seq: 5n, dt: dt(4) }, 0n, 'x')], base),
      subbuf([loss(1, { seq_first: 8n, seq_last: 9n, effects: 2, records: 2 })], { ...base, cpu: 1 }),
      subbuf([write({ seq: 6n, dt: dt(4.2) }, 0n, 'x')], { ...base, number: 1n }),
    ];
    await withRun(lossy, async (runDir) => {
      const index = await indexRun(runDir);
      try {
        const facts = { runName: 'r', checkpointSeq: 0n, marks: [] };
        const found: Record<string, bigint> = {};
        for (const text of ['+0s', '+1s', '+3.9s', '+4s', '+4.2s', '+99s', 'end', 'seq:9'])
          found[text] = await resolveInstant(text, runDir, index, facts);
        expect(found).to.deep.equal({
          ...{ '+0s': 1n, '+1s': 4n, '+3.9s': 4n, '+4s': 5n, '+4.2s': 9n, '+99s': 9n, end: 9n, 'seq:9': 9n },
        });
      } finally {
        await index.close();
      }
    });
  });

  it('goes as far as a mark that was made after the last effect that is there', async () => {
    await withRun(subbufs, async (runDir) => {
      const index = await indexRun(runDir);
      try {
        const facts = { runName: 'r', checkpointSeq: 0n, marks: [{ label: 'a', seq: 8n }] };
        const found: Record<string, bigint> = {};
        for (const text of ['+3s', '+99s', 'end', 'seq:7'])
          found[text] = await resolveInstant(text, runDir, index, facts);
        expect(found).to.deep.equal({ '+3s': 4n, '+99s': 8n, end: 8n, 'seq:7': 7n });
      } finally {
        await index.close();
      }
    });
  });

  it('says so when the time is before the first effect', async () => {
    let code = '';
    await resolve('2023-11-14T22:13:19Z').catch((error: unknown) => {
      if (error instanceof LabError) code = error.code;
    });
    expect(code).to.equal('LAB_INSTANT_UNKNOWN');
  });

  it('is no time where another part has effects, for they have times too', async () => {
    const whole = subbuf([start(1n), write({ seq: 2n, dt: 5 }, 0n, 'x')]);
    await withRun([partOf(whole, 'network')], async (runDir) => {
      const index = await indexRun(runDir);
      try {
        const facts = { runName: 'r', checkpointSeq: 0n, marks: [] };
        expect(await resolveInstant('end', runDir, index, facts)).to.equal(2n);
        const error = await resolveInstant('+1s', runDir, index, facts).catch((reason: unknown) => reason);
        expect((error as LabError).message).to.match(/another part has effects/);
      } finally {
        await index.close();
      }
    });
  });
});
