// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import fc from 'fast-check';
import { FLAG } from '../../lab/abi/layout.js';
import { equation } from '../../lab/cli/verbs/stats.js';
import { accountRun } from '../../lab/trace/account.js';
import { type MergeOptions, mergeEffects } from '../../lab/trace/merge.js';
import { RangeList, splitGap } from '../../lab/trace/ranges.js';
import { indexRun } from '../../lab/trace/run-index.js';
import { statsOf } from '../../lab/trace/stats.js';
import { collect, withRun } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

/** Effects, gaps and duplicates as short text. */
async function merged(runDir: string, options?: MergeOptions): Promise<string[]> {
  const items = await collect(mergeEffects(runDir, await indexRun(runDir), options));
  return items.map((i) =>
    i.type === 'effect' ? String(i.seq) : i.type === 'gap' ? `gap ${i.first}-${i.last}` : `dup ${i.seq}`,
  );
}

function nops(cpu: number, number: bigint, seqs: readonly number[]): Buffer {
  return b.subbuf(
    seqs.map((s) => b.nop(BigInt(s))),
    { cpu, number },
  );
}

describe('merge of effects', () => {
  it('gives one ascending order out of several streams', async () => {
    await withRun(
      [nops(0, 0n, [1, 4, 5]), nops(1, 0n, [2, 3, 8]), nops(0, 1n, [6, 7]), nops(1, 1n, [9])],
      async (runDir) => {
        expect(await merged(runDir)).to.deep.equal(['1', '2', '3', '4', '5', '6', '7', '8', '9']);
      },
    );
  });

  it('hands out whole records with the time of their sub-buffer', async () => {
    const effect = b.write({ seq: 1n, dt: 7 }, 3n, 'abc');
    await withRun([b.subbuf([b.switchTo(4), effect], { monoNs: 100n, realNs: 2n ** 60n })], async (runDir) => {
      const [item] = await collect(mergeEffects(runDir, await indexRun(runDir)));
      if (item?.type !== 'effect') throw new Error('no effect');
      expect(item.buf.equals(effect)).to.equal(true);
      expect([item.monoNs, item.realNs]).to.deep.equal([107n, 2n ** 60n + 7n]);
    });
  });

  it('names gaps and duplicates', async () => {
    await withRun([nops(0, 0n, [2, 3, 7]), nops(1, 0n, [3, 10])], async (runDir) => {
      expect(await merged(runDir)).to.deep.equal(['gap 1-1', '2', '3', 'dup 3', 'gap 4-6', '7', 'gap 8-9', '10']);
    });
  });

  it('keeps to the wanted numbers, also where a gap crosses their borders', async () => {
    await withRun([nops(0, 0n, [1, 2, 3, 6]), nops(1, 0n, [9, 10])], async (runDir) => {
      expect(await merged(runDir, { from: 2n, to: 3n })).to.deep.equal(['2', '3']);
      expect(await merged(runDir, { from: 5n, to: 7n })).to.deep.equal(['gap 5-5', '6', 'gap 7-7']);
      expect(await merged(runDir, { from: 4n, to: 5n })).to.deep.equal(['gap 4-5']);
      expect(await merged(runDir, { to: 0n })).to.deep.equal([]);
    });
  });

  it('keeps numbers above 2^53 apart', async () => {
    const big = 2n ** 53n + 1n;
    await withRun([b.subbuf([b.nop(big), b.nop(big + 1n)])], async (runDir) => {
      const items = await collect(mergeEffects(runDir, await indexRun(runDir), { from: big }));
      expect(items.map((i) => i.type === 'effect' && i.seq)).to.deep.equal([big, big + 1n]);
    });
  });

  it('is right for any dealing of numbers to streams and sub-buffers', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.integer({ min: 0, max: 3 }), fc.boolean(), fc.boolean()), { minLength: 1, maxLength: 60 }),
        async (deal) => {
          const streams = new Map<number, { done: Buffer[]; seqs: number[] }>();
          const order: Buffer[] = [];
          const present: number[] = [];
          const flush = (cpu: number): void => {
            const stream = streams.get(cpu);
            if (!stream || stream.seqs.length === 0) return;
            const bytes = nops(cpu, BigInt(stream.done.length), stream.seqs);
            stream.done.push(bytes);
            stream.seqs = [];
            order.push(bytes);
          };
          for (const [i, [cpu, isLast, isLost]] of deal.entries()) {
            if (!streams.has(cpu)) streams.set(cpu, { done: [], seqs: [] });
            if (!isLost) {
              streams.get(cpu)?.seqs.push(i + 1);
              present.push(i + 1);
            }
            if (isLast) flush(cpu);
          }
          for (const cpu of streams.keys()) flush(cpu);
          await withRun(
            order,
            async (runDir) => {
              const seen: number[] = [];
              let next = 1;
              for await (const item of mergeEffects(runDir, await indexRun(runDir))) {
                if (item.type === 'effect') {
                  expect(Number(item.seq)).to.equal(next);
                  seen.push(next++);
                } else if (item.type === 'gap') {
                  expect(Number(item.first)).to.equal(next);
                  next = Number(item.last) + 1;
                } else throw new Error('no duplicate was dealt');
              }
              expect(seen).to.deep.equal(present);
            },
            1000,
          );
        },
      ),
      { numRuns: 40 },
    );
  });
});

describe('account of a run', () => {
  it('is complete when nothing is missing', async () => {
    await withRun([nops(0, 0n, [1, 3]), nops(1, 0n, [2])], async (runDir) => {
      const account = await accountRun(runDir, await indexRun(runDir));
      expect(account).to.include({
        isComplete: true,
        isHonest: true,
        issued: 3n,
        recorded: 3n,
        dropped: 0n,
        missing: 0n,
        effects: 3n,
        seqLast: 3n,
      });
    });
  });

  it('tells a declared loss from one that is not', async () => {
    const loss = b.loss(FLAG.LOSS_NO_BUFFER, { seq_first: 2n, seq_last: 3n, effects: 2, records: 2 });
    await withRun([b.subbuf([b.nop(1n), loss, b.nop(5n)], { issued: 5n, dropped: 2n })], async (runDir) => {
      const account = await accountRun(runDir, await indexRun(runDir));
      expect(account.gaps).to.deep.equal([
        { first: 2n, last: 3n, isDeclared: true },
        { first: 4n, last: 4n, isDeclared: false },
      ]);
      expect(account).to.include({ isComplete: false, isHonest: false, dropped: 2n, missing: 0n });
    });
  });

  it('is neither when a mark stands at an effect that the record does not reach', async () => {
    await withRun([nops(0, 0n, [1, 3]), nops(1, 0n, [2])], async (runDir) => {
      const index = await indexRun(runDir);
      expect(await accountRun(runDir, index, undefined, 3n)).to.include({ isComplete: true, isHonest: true });
      const account = await accountRun(runDir, index, undefined, 5n);
      expect(account).to.include({ isComplete: false, isHonest: false });
      expect(account.gaps).to.deep.equal([{ first: 4n, last: 5n, isDeclared: false }]);
    });
  });

  it('is honest but not complete after a declared loss, also at the very end', async () => {
    const loss = b.loss(FLAG.LOSS_LOSSY, { seq_first: 2n, seq_last: 4n, effects: 3, records: 3 });
    await withRun([b.subbuf([b.nop(1n), loss], { issued: 5n, dropped: 3n })], async (runDir) => {
      const account = await accountRun(runDir, await indexRun(runDir));
      expect(account.gaps).to.deep.equal([{ first: 2n, last: 4n, isDeclared: true }]);
      expect(account).to.include({ isComplete: false, isHonest: true });
    });
  });

  it('finds a sub-buffer that never came, and records that are missing', async () => {
    const frames = [nops(0, 0n, [1]), b.subbuf([b.nop(3n)], { number: 2n, issued: 3n })];
    await withRun(frames, async (runDir) => {
      const account = await accountRun(runDir, await indexRun(runDir));
      expect(account.streams[0]).to.deep.include({ missing: 1n, numberGaps: [{ first: 1n, last: 1n }] });
      expect(account.isHonest).to.equal(false);
    });
  });

  it('lets what is too much on one stream make up for nothing that is missing on another', async () => {
    const frames = [nops(0, 0n, [1]), nops(0, 0n, [2]), b.subbuf([b.nop(3n)], { cpu: 1, issued: 2n })];
    await withRun(frames, async (runDir) => {
      const account = await accountRun(runDir, await indexRun(runDir));
      expect(account).to.include({ isComplete: false, isHonest: false, missing: 1n, surplus: 1n });
      expect([...account.streams, account].map(equation)).to.deep.equal([
        '1 issued = 2 recorded + 0 declared lost - 1 that are there TWICE or were not counted',
        '2 issued = 1 recorded + 0 declared lost + 1 MISSING without a declaration',
        '3 issued = 3 recorded + 0 declared lost + 1 MISSING without a declaration - 1 that are there TWICE or were not counted',
      ]);
    });
  });

  it('notices two boots in one run', async () => {
    await withRun([nops(0, 0n, [1]), b.subbuf([b.nop(2n)], { cpu: 1, bootId: 5n })], async (runDir) => {
      expect(await accountRun(runDir, await indexRun(runDir))).to.include({ boots: 2, isHonest: false });
    });
  });

  it('joins ranges that touch and splits gaps by them', () => {
    const joined = RangeList.of([
      // Ends before it begins.
      { first: 20n, last: 11n },
      { first: 5n, last: 6n },
      { first: 1n, last: 2n },
      { first: 3n, last: 3n },
      { first: 6n, last: 9n },
    ]);
    expect(Array.from({ length: joined.count }, (_, i) => [joined.first(i), joined.last(i)])).to.deep.equal([
      [1n, 3n],
      [5n, 9n],
    ]);
    const parts = splitGap({ first: 2n, last: 11n }, joined).map(
      (p) => `${p.first}-${p.last}${p.isDeclared ? '' : '!'}`,
    );
    expect(parts).to.deep.equal(['2-3', '4-4!', '5-9', '10-11!']);
  });

  it('counts by kind, effect and system call', async () => {
    const frames = [
      b.subbuf([
        b.entry(1, [1, 2, 3]),
        b.write({ seq: 1n }, 0n, 'x'),
        b.exit(1, 1),
        b.entry(59, [1, 2, 3], [], { flags: FLAG.F_DENIED }),
        b.switchTo(0),
      ]),
    ];
    await withRun(frames, async (runDir) => {
      const stats = await statsOf(runDir);
      expect(stats.kinds.map((k) => [k.name, k.count])).to.deep.equal([
        ['ENTRY', 2],
        ['EXIT', 1],
        ['SWITCH', 1],
        ['EFFECT', 1],
      ]);
      expect(stats.ops.map((o) => [o.name, o.count])).to.deep.equal([['WRITE', 1]]);
      expect(stats.syscalls).to.deep.equal([
        { name: 'execve', abi: '64', entries: 1, exits: 0, denied: 1, fs: 'replayed' },
        { name: 'write', abi: '64', entries: 1, exits: 1, denied: 0, fs: 'replayed' },
      ]);
      expect(stats.account.isComplete).to.equal(true);
    });
  });
});
