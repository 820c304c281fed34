// SPDX-License-Identifier: MIT
import { type FileHandle, mkdtemp, open, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { encodeSegmentFooter, parseSegmentFooter } from '../../lab/trace/segment-format.js';
import { readSegments, type SegmentProblem, type StoredSubbuf } from '../../lab/trace/segment-reader.js';
import { recoverSegments } from '../../lab/trace/segment-recovery.js';
import { SegmentWriter } from '../../lab/trace/segment-writer.js';
import { Sha256x16 } from '../../lab/trace/sha256x16.js';
import { LabError } from '../../lab/util/errors.js';
import { collect, SEGMENT_CLOCK_NS, withRun } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const FRAMES = [b.subbuf([b.start()]), b.subbuf([b.nop(2n)], { number: 1n }), b.subbuf([b.nop(3n)], { number: 2n })];

function split(items: readonly (StoredSubbuf | SegmentProblem)[]): { good: Buffer[]; problems: string[] } {
  return {
    good: items.flatMap((i) => (i.type === 'subbuf' ? [i.bytes] : [])),
    problems: items.flatMap((i) => (i.type === 'problem' ? [`${i.kind} ${i.segment}@${i.offset}`] : [])),
  };
}

async function read(runDir: string): Promise<{ good: Buffer[]; problems: string[] }> {
  return split(await collect(readSegments(segmentsFolder(runDir))));
}

async function withFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

type Method = (this: FileHandle, ...args: unknown[]) => Promise<unknown>;

/** Has every file do one thing by `instead`, which is given how it is done, and with what. */
async function withMethod(
  name: 'datasync' | 'write',
  instead: (really: () => Promise<unknown>, args: readonly unknown[]) => Promise<unknown>,
  work: () => Promise<void>,
): Promise<void> {
  const probe = await open('/dev/null', 'r');
  const handles = Object.getPrototypeOf(probe) as Record<typeof name, Method>;
  const method = handles[name];
  await probe.close();
  handles[name] = function (...args) {
    return instead(() => method.apply(this, args), args);
  };
  try {
    await work();
  } finally {
    handles[name] = method;
  }
}

function withDatasync(instead: (datasync: () => Promise<unknown>) => Promise<unknown>, work: () => Promise<void>) {
  return withMethod('datasync', instead, work);
}

const failure = (code: string) => Object.assign(new Error(code), { code });

describe('segment files', () => {
  it('give back what was appended, sealed', async () => {
    await withRun(FRAMES, async (runDir) => {
      const { good, problems } = await read(runDir);
      expect(problems).to.deep.equal([]);
      expect(Buffer.concat(good).equals(Buffer.concat(FRAMES))).to.equal(true);
    });
  });

  it('begin a new segment at the limit, and each is sealed', async () => {
    await withRun(
      FRAMES,
      async (runDir) => {
        expect(await readdir(segmentsFolder(runDir))).to.deep.equal(['000000.seg', '000001.seg', '000002.seg']);
        const { good, problems } = await read(runDir);
        expect([good.length, problems]).to.deep.equal([3, []]);
      },
      250,
    );
  });

  it('report a torn tail and keep what came before, at every cut', async () => {
    await withRun(FRAMES, async (runDir) => {
      const path = join(segmentsFolder(runDir), '000000.seg');
      const whole = await readFile(path);
      const bodyEnd = whole.length - 64;
      const ends = [64];
      for (const frame of FRAMES) ends.push((ends.at(-1) ?? 0) + frame.length);
      for (let cut = 0; cut < whole.length; cut++) {
        await writeFile(path, whole.subarray(0, cut));
        const { good, problems } = await read(runDir);
        const expected = ends.filter((end) => end > 64 && end <= cut).length;
        expect(good.length, `cut at ${cut}`).to.equal(expected);
        expect(problems.length, `cut at ${cut}`).to.equal(1);
        // A footer that is cut looks like the start of a frame that is not ours.
        const kinds = cut < bodyEnd ? ['torn', 'unsealed'] : ['torn', 'unsealed', 'foreign'];
        expect(problems[0]?.split(' ')[0], `cut at ${cut}`).to.be.oneOf(kinds);
      }
    });
  });

  it('notice a flip of any byte, and give only sub-buffers that were written', async () => {
    await withRun(FRAMES, async (runDir) => {
      const path = join(segmentsFolder(runDir), '000000.seg');
      const whole = await readFile(path);
      for (let at = 0; at < whole.length; at++) {
        const copy = Buffer.from(whole);
        copy[at] = (copy[at] ?? 0) ^ 0x20;
        await writeFile(path, copy);
        const { good, problems } = await read(runDir);
        expect(problems, `flip at ${at}`).not.to.deep.equal([]);
        for (const [i, bytes] of good.entries()) expect(bytes.equals(FRAMES[i] ?? Buffer.alloc(0))).to.equal(true);
      }
    });
  }).timeout(20_000);

  it('that are missing, foreign, or in the wrong place are named, and the others still read', async () => {
    await withRun(
      FRAMES,
      async (runDir) => {
        const folder = segmentsFolder(runDir);
        await rename(join(folder, '000001.seg'), join(folder, '000004.seg'));
        await writeFile(join(folder, '000003.seg'), 'not a segment, but long enough to hold the header of one, I say');
        const { good, problems } = await read(runDir);
        expect(good).to.have.length(2);
        expect(problems).to.deep.equal(['missing 1@0', 'foreign 3@0', 'foreign 4@12']);
      },
      250,
    );
  });

  it('that are not the last must be sealed', async () => {
    await withRun(
      FRAMES,
      async (runDir) => {
        const path = join(segmentsFolder(runDir), '000000.seg');
        const whole = await readFile(path);
        await writeFile(path, whole.subarray(0, whole.length - 64));
        expect((await read(runDir)).problems).to.deep.equal([`corrupt 0@${whole.length - 64}`]);
      },
      250,
    );
  });

  it('are gone on with behind the last whole sub-buffer, wherever the writer was stopped', async () => {
    await withRun(FRAMES, async (runDir) => {
      const folder = segmentsFolder(runDir);
      const path = join(folder, '000000.seg');
      const whole = await readFile(path);
      const ends = [64];
      for (const frame of FRAMES) ends.push((ends.at(-1) ?? 0) + frame.length);
      for (let cut = 0; cut < whole.length; cut++) {
        await writeFile(path, whole.subarray(0, cut));
        const headers: bigint[] = [];
        const { tail, tornBytes } = await recoverSegments(folder, ({ number }) => headers.push(number));
        const kept = Math.max(0, ...ends.filter((end) => end <= cut));
        expect([tornBytes, headers.length], `cut at ${cut}`).to.deep.equal([
          cut - kept,
          kept === 0 ? 0 : ends.indexOf(kept),
        ]);
        if (kept === 0) expect([tail.segments, await readdir(folder)], `cut at ${cut}`).to.deep.equal([0, []]);
        else expect([tail.segments, (await readFile(path)).length], `cut at ${cut}`).to.deep.equal([1, kept]);
      }
    });
  });

  it('that were begun while the one before was being sealed are set aside, if that has no seal', async () => {
    await withFolder(async (folder) => {
      const lengths = FRAMES.map((frame) => frame.length);
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes: 64 + Math.max(...lengths) });
      for (const frame of FRAMES.slice(0, 2)) await writer.append(frame);
      await writer.abandon();
      const [first, second] = [join(folder, '000000.seg'), join(folder, '000001.seg')];
      const [sealed, open] = [await readFile(first), await readFile(second)];
      // As it is after a loss of power: the seal did not get to the disk.
      await writeFile(first, sealed.subarray(0, -64));
      const numbers: bigint[] = [];
      const { tail, tornBytes } = await recoverSegments(folder, ({ number }) => numbers.push(number));
      expect([tail.segments, tail.open?.subbufs, tornBytes, numbers.length]).to.deep.equal([1, 1, open.length, 1]);
      expect((await readdir(folder)).sort()).to.deep.equal(['000000.seg', '000001.seg.aside']);
      // It happens again.
      await writeFile(second, open);
      await recoverSegments(folder, () => {});
      expect((await readdir(folder)).sort().slice(1)).to.deep.equal(['000001.seg.aside', '000001.seg.aside.1']);
      await rm(join(folder, '000001.seg.aside.1'));
      // An empty one is of no use to anybody.
      await writeFile(second, open.subarray(0, 64));
      expect((await recoverSegments(folder, () => {})).tail.segments).to.equal(1);
      expect((await readdir(folder)).sort()).to.deep.equal(['000000.seg', '000001.seg.aside']);
      // A sealed one was begun when the seal before it was on the disk: that was harmed later, and nothing is changed.
      const digest = new Sha256x16().update(open).digest();
      const seal = encodeSegmentFooter({ bodyBytes: BigInt(open.length - 64), subbufs: 1n, digest });
      await writeFile(second, Buffer.concat([open, seal]));
      expect((await recoverSegments(folder, () => {})).tail).to.deep.equal({ segments: 2 });
      expect((await readFile(first)).length).to.equal(sealed.length - 64);
    });
  });

  it('of an earlier format are refused, and stay as they are', async () => {
    await withFolder(async (folder) => {
      const limitBytes = 64 + (FRAMES[0]?.length ?? 0);
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes });
      for (const frame of FRAMES) await writer.append(frame);
      await writer.close();
      for (const old of ['000000.seg', '000001.seg', '000002.seg'].map((name) => join(folder, name))) {
        const bytes = await readFile(old);
        const older = Buffer.from(bytes);
        older.writeUInt32LE(1, 8);
        await writeFile(old, older);
        const error = await recoverSegments(folder, () => {}).catch((reason: unknown) => reason);
        expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_SEGMENT_FOREIGN' });
        expect((error as LabError).message).to.match(/seg: segment version 1, wanted 2/);
        expect((await readFile(old)).equals(older)).to.equal(true);
        expect(split(await collect(readSegments(folder))).problems).to.have.length(1);
        await writeFile(old, bytes);
      }
      expect((await recoverSegments(folder, () => {})).damaged).to.deep.equal([]);
    });
  });

  it('whose bodies were lost behind their seals with the power are cut back, but not what was on the disk once', async () => {
    await withFolder(async (folder) => {
      const [first, second] = [join(folder, '000000.seg'), join(folder, '000001.seg')];
      const limitBytes = 64 + FRAMES.slice(0, 2).reduce((sum, { length }) => sum + length, 0);
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes });
      for (const frame of FRAMES.slice(0, 3)) await writer.append(frame);
      await writer.close();
      const [sealed, behind] = [await readFile(first), await readFile(second)];
      const wholeEnd = 64 + (FRAMES[0]?.length ?? 0);
      // The seal is there; of the second sub-buffer zeros are.
      const holed = Buffer.from(sealed).fill(0, wholeEnd, sealed.length - 64);
      const recover = async (signed?: readonly string[]) => {
        const numbers: bigint[] = [];
        const recovered = await recoverSegments(folder, ({ number }) => numbers.push(number), new Set(signed));
        return { ...recovered, numbers };
      };
      await writeFile(first, holed);
      await rm(second);
      const cut = await recover();
      expect([cut.tail.segments, cut.tail.open?.subbufs, cut.numbers, cut.damaged]).to.deep.equal([1, 1, [0n], []]);
      expect(await readFile(first)).to.deep.equal(sealed.subarray(0, wholeEnd));
      expect(await readFile(`${first}.aside`)).to.deep.equal(holed);
      // The same with an open one behind it, of which nothing was acknowledged.
      await writeFile(first, holed);
      await writeFile(second, behind.subarray(0, -64));
      expect((await recover()).tail).to.deep.include({ segments: 1 });
      expect(await readdir(folder)).to.include('000001.seg.aside');
      // What was signed, or has a sealed one behind it, was on the disk: nothing of it is changed or cut.
      for (const [signed, files] of [
        [['000000.seg'], [holed]],
        [[], [holed, behind]],
        [['000000.seg'], [holed, behind.subarray(0, -64)]],
        [['000000.seg'], [sealed.subarray(0, -64)]],
      ] as const) {
        await rm(second, { force: true });
        for (const [i, bytes] of files.entries()) await writeFile([first, second][i] ?? '', bytes);
        const { damaged, numbers, tail } = await recover(signed);
        expect(damaged.map(({ name }) => name)).to.deep.equal(['000000.seg']);
        expect(numbers.at(-1)).to.equal(files.length === 2 ? 2n : files[0] === holed ? 0n : 1n);
        expect(tail.segments).to.equal(files.length);
        for (const [i, bytes] of files.entries()) expect(await readFile([first, second][i] ?? '')).to.deep.equal(bytes);
      }
    });
  });

  it('that are gone on with are the same as if the writer had not been stopped', async () => {
    await withRun(FRAMES, async (runDir) => {
      const folder = segmentsFolder(runDir);
      const path = join(folder, '000000.seg');
      const whole = await readFile(path);
      await writeFile(path, whole.subarray(0, whole.length - 64 - 5));
      const { tail } = await recoverSegments(folder, () => {});
      const writer = await SegmentWriter.resume({ folder, now: () => SEGMENT_CLOCK_NS, isSynced: true }, tail);
      await writer.append(FRAMES[2] ?? Buffer.alloc(0));
      await writer.sync();
      await writer.close();
      expect((await readFile(path)).equals(whole)).to.equal(true);
      // A sealed one is never opened again: the next is begun.
      const sealed = await recoverSegments(folder, () => {});
      expect(sealed).to.deep.equal({ tail: { segments: 1 }, tornBytes: 0, damaged: [] });
    });
  });

  it('of a run that is not there give an error that says so', async () => {
    const error = await collect(readSegments('/nonexistent/segments')).catch((e: unknown) => e);
    expect(error).to.be.instanceOf(LabError);
    expect((error as LabError).code).to.equal('LAB_RUN_UNKNOWN');
  });

  it('can be synced while one is being closed', async () => {
    await withFolder(async (folder) => {
      const syncs: Promise<void>[] = [];
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes: 1 });
      await withDatasync(
        async (datasync) => {
          await datasync();
          // When whoever waits for this has gone on, and closes the file.
          process.nextTick(() => syncs.push(writer.sync()));
        },
        async () => {
          for (const frame of FRAMES) await writer.append(frame);
          expect((await writer.close()).segments).to.equal(FRAMES.length);
          await Promise.all(syncs);
        },
      );
      expect(syncs.length).to.be.at.least(FRAMES.length);
    });
  });

  it('are not sealed, nor gone on with, when a sync that runs beside their sealing fails', async () => {
    const frames = [...FRAMES, ...FRAMES];
    for (let failing = 0; failing < 6; failing++) {
      await withFolder(async (folder) => {
        const sealed: string[] = [];
        const writer = await SegmentWriter.create({
          ...{ folder, now: () => 0n, limitBytes: 3 * (FRAMES[0]?.length ?? 0), isSynced: true },
          onSealed: async ({ name }) => void sealed.push(name),
        });
        let synced = 0;
        let failed = 0;
        await withDatasync(
          async (datasync) => {
            const mine = synced++;
            await sleep(2);
            // The kernel says it once.
            if (mine === failing) throw failure('EIO');
            await datasync();
          },
          async () => {
            const syncs: Promise<void>[] = [];
            for (const frame of frames) {
              await writer.append(frame).catch(() => failed++);
              syncs.push(writer.sync().catch(() => void failed++));
              await sleep(1);
            }
            await Promise.all(syncs);
            await writer.close().catch(() => failed++);
          },
        );
        expect(failed, `sync ${failing}`).to.be.greaterThan(0);
        // What was sealed is whole, and nothing is missing before the end, for whoever goes on.
        await recoverSegments(folder, () => {});
        const bodies: Buffer[] = [];
        for (const name of (await readdir(folder)).filter((file) => file.endsWith('.seg')).sort()) {
          const bytes = await readFile(join(folder, name));
          const footer = parseSegmentFooter(bytes.subarray(-64));
          bodies.push(bytes.subarray(64, footer === undefined ? undefined : bytes.length - 64));
          // One may be sealed that nobody was told of.
          if (footer !== undefined || sealed.includes(name))
            expect(footer?.bodyBytes).to.equal(BigInt(bytes.length - 128));
        }
        const there = Buffer.concat(bodies);
        expect(Buffer.concat(frames).subarray(0, there.length).equals(there), `sync ${failing}`).to.equal(true);
      });
    }
  });

  it('keep what a sync told of, when the seal beside it finds no room', async () => {
    await withFolder(async (folder) => {
      const limitBytes = 64 + 2 * (FRAMES[0]?.length ?? 0);
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes, isSynced: true });
      for (const frame of FRAMES.slice(0, 2)) await writer.append(frame);
      const slow = async (datasync: () => Promise<unknown>) => {
        await sleep(30);
        await datasync();
      };
      const noSeal = async (really: () => Promise<unknown>, [bytes]: readonly unknown[]) => {
        if (Buffer.isBuffer(bytes) && bytes.toString('latin1', 0, 8) === 'LMNASEAL') throw failure('ENOSPC');
        return really();
      };
      let told = false;
      await withDatasync(slow, () =>
        withMethod('write', noSeal, async () => {
          const synced = writer.sync().then(() => {
            told = true;
          });
          const error: unknown = await writer.append(FRAMES[2] ?? Buffer.alloc(0)).catch((e: unknown) => e);
          expect(error).to.include({ code: 'LAB_ENV_DISK_FULL' });
          await synced.catch(() => {});
        }),
      );
      await writer.close();
      const { size } = await stat(join(folder, '000000.seg'));
      const whole = 64 + (FRAMES[0]?.length ?? 0) + (FRAMES[1]?.length ?? 0);
      expect(size).to.be.oneOf(told ? [whole] : [64, whole]);
    });
  });

  it('that were sealed and not synced are synced by whoever goes on', async () => {
    await withFolder(async (folder) => {
      const limitBytes = 64 + Math.max(...FRAMES.map((frame) => frame.length));
      const writer = await SegmentWriter.create({ folder, now: () => 0n, limitBytes });
      for (const frame of FRAMES) await writer.append(frame);
      await writer.close();
      let syncs = 0;
      const count = async (datasync: () => Promise<unknown>) => {
        syncs++;
        await datasync();
      };
      await withDatasync(count, async () => void (await recoverSegments(folder, () => {})));
      expect(syncs).to.equal(2);
      const bad = () => Promise.reject(failure('EIO'));
      let error: unknown;
      await withDatasync(bad, async () => {
        error = await recoverSegments(folder, () => {}).catch((e: unknown) => e);
      });
      expect(error).to.be.instanceOf(LabError);
      expect((await readdir(folder)).length).to.equal(3);
    });
  });

  it('are not cut when they cannot be synced as they are gone on with', async () => {
    await withFolder(async (folder) => {
      const options = { folder, now: () => 0n, isSynced: true } as const;
      const writer = await SegmentWriter.create(options);
      for (const frame of FRAMES) await writer.append(frame);
      await writer.abandon();
      const before = await readFile(join(folder, '000000.seg'));
      const { tail } = await recoverSegments(folder, () => {});
      let error: unknown;
      await withDatasync(
        () => Promise.reject(failure('EIO')),
        async () => {
          error = await SegmentWriter.resume(options, tail).catch((e: unknown) => e);
        },
      );
      expect(error).to.be.instanceOf(LabError);
      expect((await readFile(join(folder, '000000.seg'))).equals(before)).to.equal(true);
    });
  });

  it('end before a sub-buffer that is there already', async () => {
    await withFolder(async (folder) => {
      const writer = await SegmentWriter.create({ folder, now: () => 0n });
      for (const i of [0, 1, 1, 2]) await writer.append(FRAMES[i] ?? Buffer.alloc(0));
      await writer.abandon();
      const numbers: bigint[] = [];
      const { tail } = await recoverSegments(folder, ({ number }) => numbers.push(number));
      expect([numbers, tail.open?.subbufs]).to.deep.equal([[0n, 1n], 2]);
    });
  });

  it('are never written over', async () => {
    await withRun(FRAMES, async (runDir) => {
      const writer = await SegmentWriter.create({ folder: segmentsFolder(runDir), now: () => SEGMENT_CLOCK_NS });
      const error = await writer.append(FRAMES[0] ?? Buffer.alloc(0)).catch((e: unknown) => e);
      expect(String(error)).to.match(/EEXIST/);
      const again = await writer.append(FRAMES[0] ?? Buffer.alloc(0)).catch((e: unknown) => e);
      expect(again).to.equal(error);
      await writer.close();
    });
  });

  it('of an empty recording are no segments at all', async () => {
    await withRun([], async (runDir) => {
      expect(await read(runDir)).to.deep.equal({ good: [], problems: [] });
      await rm(segmentsFolder(runDir), { recursive: true });
    });
  });
});
