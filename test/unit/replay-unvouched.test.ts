// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { type LostNote, TO_THE_END, WHAT } from '../../lab/trace/lost.js';
import { indexRun } from '../../lab/trace/run-index.js';
import type { Doubt } from '../../replay/control.js';
import { Doubts } from '../../replay/doubts.js';
import { sumGaps } from '../../replay/gaps.js';
import { type About, lostEffects, Told } from '../../replay/lost.js';
import type { PlanGap } from '../../replay/plan.js';
import { describeUnvouched, hiddenBytes, unvouched } from '../../replay/unvouched.js';
import type { ImageName } from '../../replay/verify/names.js';
import { lostRecord, notesOf } from '../support/lose-effects.js';
import { withRun } from '../support/run-builder.js';
import { start, subbuf } from '../support/trace-builder.js';

const ROOT = 0xfe00;

const note = (change: Partial<LostNote>): LostNote => ({
  ...{ seqFirst: 5n, seqLast: 5n, ino: 12n, gen: 7, dev: ROOT, what: WHAT.TIMES, effects: 1, pos: 0n, len: 0n },
  ...change,
});
/** What is lost of a record with these gaps and notes. */
const lostOf = (gaps: readonly PlanGap[], notes: readonly LostNote[]) => lostEffects(sumGaps(gaps), notes, ROOT);
const gap = (first: bigint, last: bigint, isDeclared = true): PlanGap => ({ type: 'gap', first, last, isDeclared });

/** Names of a rebuilt disk: recorded inode 12 became 112, and so on. */
const NAMES: readonly ImageName[] = [
  { path: '/', ino: 2, gen: 0, sizeBytes: 0n },
  { path: '/a', ino: 112, gen: 7, sizeBytes: 10_000n },
  { path: '/d', ino: 113, gen: 7, sizeBytes: 0n },
  { path: '/d/x', ino: 114, gen: 7, sizeBytes: 50n },
  { path: '/d!', ino: 115, gen: 7, sizeBytes: 1n },
  { path: '/e', ino: 112, gen: 7, sizeBytes: 10_000n },
];

function doubt(ino: bigint, what: number, rebuiltIno = Number(ino) + 100): Doubt {
  return { ino, gen: 7, rebuiltIno, rebuiltGen: 7, what };
}

/** What is named when the agent concludes nothing more than the notes say. */
function named(about: readonly About[], more: readonly Doubt[] = []): string[] {
  const doubts = about.map((one) => doubt(one.ino, one.what));
  return unvouched(about, [...doubts, ...more], NAMES).map(describeUnvouched);
}

describe('what a rebuild across lost effects cannot vouch for', () => {
  it('is nothing where nothing was lost', () => {
    expect(unvouched([], [], NAMES)).to.deep.equal([]);
  });

  it('is the bytes of a lost write, under every name of the file', () => {
    const about = [note({ what: WHAT.CONTENT, pos: 100n, len: 50n })];
    expect(named(about)).to.deep.equal(['/a: bytes 100 to 149', '/e: bytes 100 to 149']);
  });

  it('joins ranges, and names the attributes where the size may be another', () => {
    const about = [
      note({ what: WHAT.CONTENT, pos: 100n, len: 50n }),
      note({ what: WHAT.CONTENT, pos: 150n, len: 50n }),
      note({ what: WHAT.CONTENT, pos: 9_990n, len: 20n }),
    ];
    expect(named(about)[0]).to.equal('/a: bytes 100 to 199, 9990 to 10009; attributes');
  });

  it('is the rest of a file that may have been cut', () => {
    const about = [note({ what: WHAT.CONTENT | WHAT.ATTR, pos: 4096n, len: TO_THE_END })];
    expect(named(about)[0]).to.equal('/a: attributes; xattrs; bytes 4096 to the end');
    expect(hiddenBytes(unvouched(about, [doubt(12n, WHAT.CONTENT)], NAMES))[0]).to.deep.equal({
      path: '/a',
      first: 4096n,
      end: TO_THE_END,
    });
  });

  it('is all of the content where later effects moved bytes in doubt', () => {
    const about = [note({ what: WHAT.CONTENT, pos: 100n, len: 50n })];
    expect(named(about, [doubt(12n, WHAT.CONTENT | WHAT.ATTR | WHAT.WHOLE)])[0]).to.equal(
      '/a: attributes; xattrs; bytes 0 to the end',
    );
  });

  it('is a name and all below it where the name may be another, and not its neighbours', () => {
    expect(named([note({ ino: 13n, what: WHAT.PLACE })])).to.deep.equal(['/d: this name and all below it']);
  });

  it('is what may be missing in a folder, and not what is there', () => {
    expect(named([note({ ino: 13n, what: WHAT.ENTRIES })])).to.deep.equal(['/d: names may be missing in it']);
  });

  it('is what the agent concluded besides, and nothing of inodes that are not there', () => {
    expect(named([note({ ino: 99n, what: WHAT.ALL })], [doubt(13n, WHAT.ENTRIES), doubt(77n, WHAT.ALL, 0)])).to.include(
      '/d: names may be missing in it',
    );
    expect(named([note({ ino: 99n, what: WHAT.ALL })])).to.deep.equal([]);
  });

  it('is everything where it is not known what was lost', () => {
    const anything = ['/: this name and all below it'];
    for (const lost of [
      lostOf([gap(5n, 5n)], []),
      lostOf([gap(5n, 6n)], [note({ effects: 1 })]),
      lostOf([gap(5n, 5n, false)], [note({ effects: 1 })]),
      lostOf([gap(5n, 5n)], [note({ ino: 0n, dev: 0, what: WHAT.ALL, effects: 1 })]),
    ])
      expect(named([...lost.upTo(9n)])).to.deep.equal(anything);
  });

  it('is everything where more is in doubt than is told apart', () => {
    const doubts = new Doubts();
    for (let i = 0; i < 50_000; i++) doubts.add(doubt(1000n + BigInt(i), WHAT.TIMES));
    expect(unvouched([], doubts.take(), NAMES)).to.deep.equal([]);
    for (let i = 0; i < 50_001; i++) doubts.add(doubt(1000n + BigInt(i), WHAT.TIMES));
    expect(unvouched([], doubts.take(), NAMES).map(describeUnvouched)).to.deep.equal(['/: this name and all below it']);
    expect(doubts.take()).to.deep.equal([]);
  });

  it('sums up all gaps, also those that it does not list', () => {
    const gaps = Array.from({ length: 20_000 }, (_, i) => gap(BigInt(3 * i + 1), BigInt(3 * i + 2)));
    expect(sumGaps(gaps)).to.include({ declared: 40_000n, undeclaredFrom: undefined });
    expect(sumGaps(gaps).listed).to.have.length(10_000);
    const undeclared = sumGaps([...gaps, gap(99_998n, 99_999n, false), gap(100_005n, 100_006n)]);
    expect(undeclared).to.include({ declared: 40_000n, undeclaredFrom: 99_998n });
  });

  it('counts from the first lost effect on', () => {
    const lost = lostOf([gap(5n, 5n)], [note({})]);
    expect([...lost.upTo(4n)]).to.deep.equal([]);
    expect(lost.upTo(5n)).to.have.length(1);
    expect([...lostOf([gap(5n, 5n)], []).upTo(4n)]).to.deep.equal([]);
  });

  it('is known as long as every loss was declared, and then of nothing', () => {
    const notes = [note({ effects: 1 }), note({ seqFirst: 20n, seqLast: 20n, effects: 1 })];
    const gaps = [gap(5n, 5n), gap(20n, 20n), gap(30n, 31n, false)];
    const lost = lostOf(gaps, notes);
    const anything = ['/: this name and all below it'];
    expect(named([...lost.upTo(29n)])).to.deep.equal(['/a: times', '/e: times']);
    expect(gaps.map((one) => lost.of(one).map(({ ino }) => ino))).to.deep.equal([[12n], [12n], [0n]]);
    expect(named([...lost.upTo(30n)])).to.deep.equal(anything);
    // What was counted of numbers that nobody declared lost speaks of none that were.
    const other = lostOf(gaps, [note({ effects: 1 }), note({ seqFirst: 30n, seqLast: 30n, effects: 1 })]);
    expect(named([...other.upTo(29n)])).to.deep.equal(anything);
  });

  it('is told once, however many gaps the notes speak of', () => {
    const notes = Array.from({ length: 5000 }, (_, i) => note({ ino: BigInt(i + 1), seqFirst: 1n, seqLast: 2001n }));
    const told = new Told();
    let said = 0;
    // As the list of a run's notes gives them: each time it is asked, anew.
    for (let i = 0; i < 200; i++) said += told.news(notes.map((one) => ({ ...one }))).length;
    expect(said).to.equal(5000);
    const more = [note({ what: WHAT.TIMES }), note({ what: WHAT.TIMES | WHAT.ATTR }), note({ gen: 8 })];
    expect(told.news(more).map(({ gen, what }) => [gen, what])).to.deep.equal([
      [7, WHAT.TIMES | WHAT.ATTR],
      [8, WHAT.TIMES],
    ]);
    told.forget();
    expect(told.news(more.slice(0, 1))).to.have.length(1);
  });

  it('leaves out other file systems, and takes notes that speak of several gaps from the first one on', () => {
    const notes = [note({ dev: 5, effects: 1 }), note({ seqFirst: 5n, seqLast: 20n, effects: 1 })];
    const lost = lostOf([gap(5n, 5n), gap(20n, 20n)], notes);
    expect(lost.of(gap(5n, 5n))).to.have.length(1);
    expect(lost.of(gap(20n, 20n))).to.have.length(1);
    expect(lost.upTo(7n)).to.have.length(1);
  });
});

describe('LOST records', () => {
  it('come out of the index as they were written, numbers above 2^53 included', async () => {
    const wanted = note({ seqFirst: 2n ** 60n, seqLast: 2n ** 60n + 1n, pos: 2n ** 55n, len: TO_THE_END, what: 0x3f });
    await withRun([subbuf([start(1n), lostRecord(wanted)])], async (runDir) => {
      expect([...(await indexRun(runDir)).lost]).to.deep.equal([wanted]);
    });
  });

  it('of one effect count it once', () => {
    const id = { ino: 12n, gen: 7 };
    const attr = id as never;
    const rename = notesOf({
      ...{
        seq: 5n,
        dev: ROOT,
        ...id,
        op: 'RENAME',
        renameFlags: 0,
        oldName: Buffer.alloc(0),
        newName: Buffer.alloc(0),
      },
      ...{ source: attr, oldDir: attr, newDir: attr, target: attr },
    });
    expect(rename.map(({ effects }) => effects)).to.deep.equal([1, 0, 0, 0]);
  });
});
