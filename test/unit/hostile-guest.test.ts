// SPDX-License-Identifier: MIT
/** A handful of what `./lemona test fuzz` does at length, and one small test for each thing it (or its author) found. */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Duplex } from 'node:stream';
import { expect } from 'chai';
import { FLAG, SIZE } from '../../lab/abi/layout.js';
import { Processes } from '../../lab/demo/processes.js';
import { serveMarks } from '../../lab/link/mark.js';
import { prepareBinding } from '../../lab/store/binding.js';
import { accountRun } from '../../lab/trace/account.js';
import { eventsOf } from '../../lab/trace/events.js';
import { mergeEffects } from '../../lab/trace/merge.js';
import { InodeNames } from '../../lab/trace/names.js';
import { RangeList, splitGap } from '../../lab/trace/ranges.js';
import { decodeRecord } from '../../lab/trace/record.js';
import { indexRun, segmentsFolder } from '../../lab/trace/run-index.js';
import { segmentNumber } from '../../lab/trace/segment-format.js';
import { readSegments, SegmentAccess } from '../../lab/trace/segment-reader.js';
import { TaskTracker } from '../../lab/trace/tasks.js';
import { displayBytes } from '../../lab/trace/text.js';
import { BoundedMap } from '../../lab/util/bounded-map.js';
import { describeError, LabError } from '../../lab/util/errors.js';
import { createLog } from '../../lab/util/log.js';
import { createProgress, stderrProgress } from '../../lab/util/progress.js';
import { GuestConsole } from '../../lab/vm/console.js';
import { CtlClient, CtlFrameParser, encodeCtlFrame } from '../../lab/vm/ctl.js';
import { planEffects } from '../../replay/plan.js';
import { fuzzFrames } from '../fuzz/frames.js';
import { Random } from '../fuzz/random.js';
import { checkRun, checkStore, hostileRun } from '../fuzz/runs.js';
import { ROOT_DEV, SEED_FRAMES } from '../fuzz/seeds.js';
import { COMPILE_MS, storeContext } from '../harness/store.js';
import { collect, withRun } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const SEED = 20261125;
const MAX = 2n ** 64n - 1n;

/** A port of the guest to push to; what is written to it is lost. */
class Port extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

describe('a hostile guest, briefly', () => {
  it('meets the decoder in mutated frames', () => {
    const counts = fuzzFrames(SEED_FRAMES, SEED, 20_000);
    // The oracles have seen something: frames that passed, records that did not fit, damage.
    for (const key of ['accepted', 'resealed', 'damaged', 'malformed', 'unknown', 'rendered'] as const)
      expect(counts[key], key).to.be.above(200);
  });

  it('meets the inserter', async function () {
    this.timeout(COMPILE_MS);
    await prepareBinding({ ...storeContext, progress: stderrProgress() });
    const random = new Random(SEED);
    let doubled = 0;
    for (let run = 0; run < 25; run++)
      doubled += (await withRun(hostileRun(random, SEED_FRAMES), checkStore, random.oneIn(4) ? 900 : undefined))
        .doubled;
    expect(doubled).to.be.above(0);
  });

  it('meets everything that reads a run', async () => {
    const random = new Random(SEED);
    let problems = 0;
    for (let run = 0; run < 25; run++) {
      const frames = hostileRun(random, SEED_FRAMES);
      problems += (await withRun(frames, (dir) => checkRun(random, dir, new AbortController().signal))).problems;
    }
    expect(problems).to.be.above(10);
  });
});

describe('numbers of a hostile guest', () => {
  const at = (seqs: readonly bigint[], cpu: number, number: bigint) =>
    b.subbuf(
      seqs.map((seq) => b.nop(seq)),
      { cpu, number },
    );

  it('far ahead make one gap, not 2^63 of them', async () => {
    await withRun([at([1n, 2n ** 63n, MAX], 0, 0n)], async (runDir) => {
      const index = await indexRun(runDir);
      const plan = await collect(planEffects(runDir, index, { after: 0n, to: MAX, dev: ROOT_DEV }));
      expect(plan).to.deep.equal([
        { type: 'gap', first: 2n, last: 2n ** 63n - 1n, isDeclared: false },
        { type: 'gap', first: 2n ** 63n + 1n, last: MAX - 1n, isDeclared: false },
      ]);
      expect((await accountRun(runDir, index)).gaps).to.have.length(2);
    });
  });

  it('that overlap within a stream are left out by name, so that a merge opens one sub-buffer per CPU', async () => {
    const frames = Array.from({ length: 50 }, (_, i) => at([1n, 1000n + BigInt(i)], 0, BigInt(i)));
    await withRun(frames, async (runDir) => {
      const index = await indexRun(runDir);
      expect(index.totals.subbufs).to.equal(1);
      expect(index.problems).to.have.length(49);
      expect(index.problems[0]?.detail).to.equal('its effects begin at 1, those of CPU 0 had come to 1000 before');
      expect((await accountRun(runDir, index)).isHonest).to.equal(false);
    });
  });

  it('of more CPUs than a guest may have are left out by name', async () => {
    await withRun([at([1n], 255, 0n), at([2n], 256, 0n), at([3n], 65535, 0n)], async (runDir) => {
      const { streams, problems } = await indexRun(runDir);
      expect([...streams.keys()]).to.deep.equal([255]);
      expect(problems.map((problem) => problem.kind)).to.deep.equal(['malformed', 'malformed']);
    });
  });

  it('that are zero do not vanish from the merge without a word', async () => {
    await withRun([b.subbuf([b.nop(0n), b.nop(1n)])], async (runDir) => {
      const { totals, problems } = await indexRun(runDir);
      expect(totals.subbufs).to.equal(0);
      expect(problems[0]?.detail).to.match(/begin at 0/);
    });
  });

  it('in a LOSS that ends before it begins declare nothing, and no part of a gap twice', () => {
    const declared = RangeList.of([
      { first: 10n, last: 5n },
      { first: 7n, last: 8n },
    ]);
    expect(splitGap({ first: 1n, last: 20n }, declared)).to.deep.equal([
      { first: 1n, last: 6n, isDeclared: false },
      { first: 7n, last: 8n, isDeclared: true },
      { first: 9n, last: 20n, isDeclared: false },
    ]);
  });

  it('of many gaps and many losses take no time that grows with their product', () => {
    const many = 200_000;
    const declared = RangeList.of(
      Array.from({ length: many }, (_, i) => ({ first: BigInt(4 * i + 2), last: BigInt(4 * i + 2) })),
    );
    let parts = 0;
    for (let i = 0; i < many; i++)
      parts += splitGap({ first: BigInt(4 * i + 2), last: BigInt(4 * i + 3) }, declared).length;
    expect(parts).to.equal(2 * many);
  }).timeout(10_000);

  it('and clocks that all begin at once still open one sub-buffer per CPU for the timeline', async () => {
    const frames = Array.from({ length: 60 }, (_, i) =>
      b.subbuf([b.switchTo(i, { dt: 2 ** 32 - 1 - i })], { cpu: i % 2, number: BigInt(i >> 1), monoNs: 0n }),
    );
    await withRun(frames, async (runDir) => {
      const read = SegmentAccess.prototype.read;
      let reads = 0;
      SegmentAccess.prototype.read = function (place) {
        reads++;
        return read.call(this, place);
      };
      try {
        const events = eventsOf(runDir);
        await events.next();
        expect(reads).to.equal(2);
        let rest = 1;
        for await (const _event of events) rest++;
        expect(rest).to.equal(60);
      } finally {
        SegmentAccess.prototype.read = read;
      }
    });
  });
});

describe('tables of what a guest made up', () => {
  it('forget the oldest, and keep what is asked for', () => {
    const map = new BoundedMap<number, string>(100);
    map.set(-1, 'asked for');
    for (let i = 0; i < 10_000; i++) {
      map.set(i, 'x');
      expect(map.get(-1)).to.equal('asked for');
    }
    expect(map.get(9_999)).to.equal('x');
    expect(Array.from({ length: 10_000 }, (_, i) => i).filter((i) => map.has(i)).length).to.be.at.most(100);
    map.delete(-1);
    expect(map.has(-1)).to.equal(false);
  });

  it('of tasks, names and processes do not grow with their number', () => {
    const context = { cpu: 0, monoNs: 0n, realNs: 0n };
    const tasks = new TaskTracker();
    const names = new InodeNames();
    const processes = new Processes();
    const name = Buffer.alloc(60_000, 'n');
    for (let i = 1; i <= 220_000; i++) {
      const task = decodeRecord(
        b.task({ tid: i, tgid: i, parent_tgid: i - 1, uid: 1 }, { code: FLAG.TASK_FORK }),
        0,
        context,
      );
      tasks.observe(task);
      processes.observe(task);
      if (i % 100 === 0) names.learn({ dev: 1, ino: BigInt(i), gen: 0 }, { ino: BigInt(i - 100), gen: 0 }, name);
    }
    expect(tasks.get(1)).to.equal(undefined);
    expect(tasks.get(220_000)?.parentTgid).to.equal(219_999);
    // 64 names of 60,000 bytes would be a path of 4 MB.
    expect(names.path(1, 220_000n, 0).length).to.be.below(5000);
    // A child keeps its parent, that one its own.
    let ancestors = 0;
    for (let at = processes.of(220_000); at !== undefined; at = at.parent) ancestors++;
    expect(ancestors).to.be.within(2, 16);
    expect(processes.of(1)).to.equal(undefined);
  }).timeout(15_000);
});

describe('words of a hostile guest', () => {
  it('that begin with a byte order mark, or hold what nobody sees, do not look like others', () => {
    expect(displayBytes(Buffer.from('\ufeffpasswd'))).to.equal('\\xef\\xbb\\xbfpasswd');
    expect(displayBytes(Buffer.from('a\u2028b\u200dc\u{e0041}'))).to.equal(
      'a\\xe2\\x80\\xa8b\\xe2\\x80\\x8dc\\xf3\\xa0\\x81\\x81',
    );
    expect(displayBytes(Buffer.from('Grüße 日本 🍋'))).to.equal('Grüße 日本 🍋');
  });

  it('do not steer the terminal in notes, errors and progress', () => {
    const evil = 'x\x1b]0;owned\x07\u009b31m\r';
    const shown = 'x\\x1b]0;owned\\x07\\xc2\\x9b31m\\x0d';
    let written = '';
    createLog('warn', (line) => (written += line)).warn(`guest: ${evil}`);
    expect(written).to.equal(`warning: guest: ${shown}\n`);
    expect(describeError(new Error(`console:\n\t${evil}`))).to.equal(`console:\n\t${shown}`);
    written = '';
    createProgress({ write: (text) => (written += text), redraw: false })
      .step('boot')
      .done(evil);
    expect(written).to.contain(shown);
  });

  it('in the mark port that ask and never listen are not read on', async () => {
    let read = 0;
    class DeafPort extends Duplex {
      override _read(): void {
        if (read < 20_000) {
          read++;
          this.push('MARK 1 1 a b\n'.repeat(100));
        }
      }
      // Nobody reads: no write ever ends.
      override _write(): void {}
    }
    const port = new DeafPort();
    const served = serveMarks(port as unknown as Socket, async () => {});
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(port.writableLength).to.be.below(100_000);
    expect(read).to.be.below(100);
    port.destroy();
    await served;
  });

  it('in the terminal that ask and never listen get no more answers', async () => {
    class DeafSerial extends Duplex {
      override _read(): void {}
      override _write(): void {}
    }
    const serial = new DeafSerial();
    const guestConsole = new GuestConsole();
    guestConsole.attach(serial as unknown as Socket);
    for (let i = 0; i < 50; i++) {
      serial.push('\x1b[c'.repeat(1000));
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    expect(serial.writableLength).to.be.within(1, 5000);
    guestConsole.dispose();
    serial.destroy();
  });

  it('that are no terminal sequence make the emulator print nothing of its own', async () => {
    const guestConsole = new GuestConsole();
    const { error } = console;
    let printed = 0;
    console.error = () => {
      printed++;
    };
    try {
      const garbage = Buffer.from([0x1b, 0x5b, 0x9c, 0xc2, 0x9c, 0x1b, 0x5b, 0x30, 0xc3, 0xbc, 0x18]);
      await new Promise<void>((resolve) => guestConsole.write(garbage, resolve));
    } finally {
      console.error = error;
      guestConsole.dispose();
    }
    expect(printed).to.equal(0);
  });

  it('in the control port are cut where they are too long or too many', async () => {
    const port = new Port();
    const client = new CtlClient(port as unknown as Socket);
    const told = new Promise<string>((resolve) => client.onProblem(resolve));
    port.push(encodeCtlFrame('P', Buffer.alloc(1_000_000, 'x')));
    expect((await told).length).to.equal(4096);
    let heard = 0;
    client.onProblem(() => {
      heard++;
    });
    for (let i = 0; i < 1500; i++) port.push(encodeCtlFrame('P', Buffer.from('again')));
    const hello = client.hello.catch(() => 'gone');
    port.push(null);
    await hello;
    expect(heard).to.equal(999);
  });

  it('of chance, in the control and mark ports and on the console, end in an error by name or in nothing', async () => {
    const random = new Random(SEED);
    const chance = (length: number) => Buffer.from(Array.from({ length }, () => random.u32() & 255));
    const guestConsole = new GuestConsole();
    for (let round = 0; round < 150; round++) {
      const ctlPort = new Port();
      const client = new CtlClient(ctlPort as unknown as Socket);
      const outcome = async (work: Promise<unknown>): Promise<void> => {
        const error: unknown = await work.then(
          () => undefined,
          (reason: unknown) => reason,
        );
        if (error !== undefined) expect(error).to.be.instanceOf(LabError);
      };
      const outcomes = [client.hello, client.run(['true']).status, client.shutDown()].map(outcome);
      const markPort = new Port();
      const marked: string[] = [];
      const served = serveMarks(markPort as unknown as Socket, async ({ label }) => {
        marked.push(label);
      });
      for (let i = 0; i < 6; i++) {
        const payload = chance(4 + random.below(24));
        if (random.oneIn(2)) payload.writeUInt32LE(1, 0);
        const frame = encodeCtlFrame(random.pick([...'HOEXPZRIKCS?']), payload.subarray(random.oneIn(8) ? 4 : 0));
        if (random.oneIn(8)) frame.writeUInt32LE(random.u32(), 0);
        ctlPort.push(frame);
        const numbers = `${random.u32()} ${random.oneIn(4) ? '99999999999999999999' : random.u32()}`;
        markPort.push(
          random.oneIn(2) ? chance(64) : `MARK ${numbers} ${random.pick(['a', '../b', '..', 'c d', '\x1b[2J', ''])}\n`,
        );
        await new Promise<void>((resolve) => guestConsole.write(chance(200), resolve));
      }
      ctlPort.push(null);
      markPort.push(null);
      await Promise.all([...outcomes, served]);
      for (const label of marked) expect(label).to.match(/^(a|\.\.)$/);
    }
    expect(guestConsole.tail().length).to.be.at.most(4096);
    guestConsole.dispose();
  });

  it('in the control port may come byte by byte', () => {
    const frame = encodeCtlFrame('O', Buffer.alloc(300_000, 'y'));
    const parser = new CtlFrameParser();
    const frames = [...frame].flatMap((byte) => parser.push(Buffer.from([byte])));
    expect(frames.map(({ type, payload }) => [type, payload.length])).to.deep.equal([['O', 300_000]]);
  });
});

describe('files of a damaged run', () => {
  it('are segments under one spelling of their number', () => {
    expect(segmentNumber('000001.seg')).to.equal(1);
    expect(segmentNumber('1234567.seg')).to.equal(1234567);
    for (const name of ['0000001.seg', '99999999999999999999.seg', '4294967296.seg', '000001.seg.part', '-00001.seg'])
      expect(segmentNumber(name), name).to.equal(undefined);
  });

  it('that leave many numbers out are one problem', async () => {
    const runDir = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    try {
      await mkdir(segmentsFolder(runDir));
      await writeFile(path.join(segmentsFolder(runDir), '4294967295.seg'), 'x');
      const problems = await collect(readSegments(segmentsFolder(runDir)));
      expect(problems.map((item) => item.type === 'problem' && item.kind)).to.deep.equal(['missing', 'torn']);
    } finally {
      await rm(runDir, { recursive: true });
    }
  });

  it('give every effect of a merge back byte for byte', async () => {
    await withRun(SEED_FRAMES, async (runDir) => {
      const index = await indexRun(runDir);
      expect(index.problems).to.deep.equal([]);
      const stored = Buffer.concat(SEED_FRAMES.map((frame) => frame.subarray(SIZE.lemona_subbuf)));
      for (const item of await collect(mergeEffects(runDir, index)))
        if (item.type === 'effect') expect(stored.includes(item.buf)).to.equal(true);
    });
  });
});
