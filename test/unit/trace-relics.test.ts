// SPDX-License-Identifier: MIT
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { AT } from '../../lab/abi/layout.js';
import { recoverRelics } from '../../lab/run/recover.js';
import { partOf } from '../../lab/trace/parts.js';
import { relicsOf } from '../../lab/trace/relics.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { collect, writeSegments } from '../support/run-builder.js';
import { entry, exit, subbuf } from '../support/trace-builder.js';

const PAGE = 4096;
const MEMORY_PAGES = 64;
const ADDRESS = 0x10_0000;
const BOOT = 0x1122334455667788n;
const FREE = 0;
const OPEN = 1;
const CLOSED = 2;
/** Records of the stream that came before. */
const ISSUED_BEFORE = 2n ** 53n + 1n;

interface Placed {
  readonly at: number;
  readonly state: number;
  readonly bytes: Buffer;
  /** Pages of the memory that it lies in, in order. */
  readonly pages: readonly number[];
  readonly self?: number;
  readonly bootId?: bigint;
}

/** A guest's memory with sub-buffers in scattered pages, as QEMU dumps it. */
function dump(placed: readonly Placed[]): Buffer {
  const memory = Buffer.alloc(MEMORY_PAGES * PAGE, 0xa5);
  for (const { at, state, bytes, pages, self, bootId = BOOT } of placed) {
    memory.write('LMNAREL2', at, 'latin1');
    memory.writeBigUInt64LE(BigInt(self ?? ADDRESS + at), at + 8);
    memory.writeBigUInt64LE(bootId, at + 16);
    memory.writeUInt32LE(state, at + 24);
    memory.writeUInt32LE(1, at + 28);
    memory.writeUInt32LE(bytes.length, at + 32);
    memory.writeUInt32LE(pages.length, at + 36);
    memory.writeBigUInt64LE(ISSUED_BEFORE, at + 40);
    pages.forEach((page, index) => {
      memory.writeBigUInt64LE(BigInt(ADDRESS / PAGE + page), at + 48 + index * 8);
      bytes.copy(memory, page * PAGE, index * PAGE, (index + 1) * PAGE);
    });
  }
  const head = Buffer.alloc(64 + 56);
  head.writeUInt32BE(0x7f454c46, 0);
  head[4] = 2;
  head.writeBigUInt64LE(64n, 32);
  head.writeUInt16LE(56, 54);
  head.writeUInt16LE(1, 56);
  head.writeUInt32LE(1, 64);
  head.writeBigUInt64LE(BigInt(head.length), 64 + 8);
  head.writeBigUInt64LE(BigInt(ADDRESS), 64 + 24);
  head.writeBigUInt64LE(BigInt(memory.length), 64 + 32);
  return Buffer.concat([head, memory]);
}

async function found(bytes: Buffer) {
  const folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  try {
    const file = join(folder, 'memory.elf');
    await writeFile(file, bytes);
    return await collect(relicsOf(file));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Some 9 KiB: three pages. */
const whole = subbuf(Array.from({ length: 200 }, (_, i) => [entry(1, [i, 2]), exit(1, 0)]).flat(), {
  cpu: 1,
  number: 5n,
  issued: ISSUED_BEFORE + 400n,
});

/** As it lies in memory: what the header counts is unfinished, length and checksum are not there yet. */
function unfinished(): Buffer {
  const bytes = Buffer.from(whole);
  bytes.writeUInt32LE(0, AT.lemona_subbuf.length);
  bytes.writeUInt32LE(0, AT.lemona_subbuf.crc32c);
  bytes.writeUInt32LE(bytes.readUInt32LE(AT.lemona_subbuf.records) + 1, AT.lemona_subbuf.records);
  bytes.writeBigUInt64LE(0n, AT.lemona_subbuf.issued);
  return bytes;
}

function parsed(bytes: Buffer) {
  const check = parseSubbuf(bytes);
  if (!check.ok) throw new Error(check.problem.detail);
  return check.header;
}

describe('relics in the memory of a crashed guest', () => {
  it('are put together from scattered pages, with their headers made good', async () => {
    const relics = await found(
      dump([
        { at: 8 * 3, state: CLOSED, bytes: whole, pages: [40, 7, 21] },
        { at: PAGE * 2 + 16, state: OPEN, bytes: unfinished(), pages: [9, 60, 10] },
      ]),
    );
    expect(relics).to.have.length(2);
    for (const { header, bytes } of relics) {
      expect(bytes.equals(whole)).to.equal(true);
      expect(header).to.deep.include({ cpu: 1, number: 5n });
      expect(parseSubbuf(bytes).ok).to.equal(true);
    }
  });

  it('are not free ones, copies elsewhere, or nonsense', async () => {
    const pages = [40, 7, 21];
    const broken = Buffer.from(whole);
    broken.writeUInt32LE(3, AT.lemona_subbuf.length + 84);
    const relics = await found(
      dump([
        { at: 0, state: FREE, bytes: whole, pages },
        { at: PAGE, state: CLOSED, bytes: whole, pages, self: ADDRESS },
        { at: 2 * PAGE, state: CLOSED, bytes: whole, pages: [40, 7, 100_000] },
        { at: 3 * PAGE, state: 3, bytes: whole, pages },
        { at: 4 * PAGE + 4, state: CLOSED, bytes: whole, pages },
        { at: 5 * PAGE, state: CLOSED, bytes: whole.subarray(0, 40), pages: [50] },
        { at: 6 * PAGE, state: CLOSED, bytes: Buffer.alloc(200, 1), pages: [51] },
        { at: 7 * PAGE, state: CLOSED, bytes: broken, pages: [52, 53, 54] },
        { at: 8 * PAGE, state: CLOSED, bytes: whole, pages, bootId: BOOT + 1n },
      ]),
    );
    expect(relics).to.deep.equal([]);
  });

  it('are taken into a run if they are of its boot, and kept whole beside its parts', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
    try {
      const made = (number: bigint, bootId = BOOT) =>
        subbuf([entry(1)], { cpu: 0, number, bootId, issued: ISSUED_BEFORE + 1n });
      const memory = join(folder, 'memory.elf');
      const placed = [made(0n), made(1n), made(1n, BOOT + 1n), made(2n, BOOT + 1n)].map((bytes, i) => {
        const { bootId } = parsed(bytes);
        return { at: i * PAGE, state: CLOSED, bytes, pages: [20 + i], bootId };
      });
      await writeFile(memory, dump(placed));
      for (const first of [made(0n), partOf(made(0n), 'disk')]) {
        const run = join(folder, first.length === made(0n).length ? 'whole' : 'part');
        const dirs = { segmentsDir: join(run, 'segments'), wholeSegmentsDir: join(run, 'segments-whole') };
        await writeSegments(run, [first]);
        const said: string[] = [];
        await recoverRelics(
          memory,
          dirs,
          async () => {},
          (what, { subbufs }) => said.push(`${what} ${subbufs}`),
        );
        const isPart = run.endsWith('part');
        expect(said).to.deep.equal(isPart ? ['added 1', 'whole 1'] : ['added 1']);
        const bytesIn = async (dir: string) =>
          (await collect(readSegments(dir))).flatMap((item) =>
            item.type === 'subbuf' ? [Buffer.from(item.bytes)] : [],
          );
        expect(await bytesIn(dirs.segmentsDir)).to.deep.equal([first, made(1n)]);
        if (isPart) expect(await bytesIn(dirs.wholeSegmentsDir)).to.deep.equal([made(0n)]);
      }
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('are refused in a file that is no memory dump', async () => {
    for (const bytes of [Buffer.alloc(0), Buffer.alloc(200), whole]) {
      const said = await found(bytes).then(
        () => 'nothing',
        (error: Error) => error.message,
      );
      expect(said).to.include('is no memory dump');
    }
  });
});
