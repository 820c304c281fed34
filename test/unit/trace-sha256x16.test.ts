// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { DIGESTS } from '../../lab/audit/digests.js';
import { FRAME, frame, MODE } from '../../lab/link/wire.js';
import { Sha256x16 } from '../../lab/trace/sha256x16.js';
import { Random } from '../fuzz/random.js';
import { sh } from '../harness/sh.js';
import { fileOf, takeBy } from '../support/intake-rig.js';
import { info, subbuf } from '../support/trace-builder.js';
import { SIM_BOOT, testFolder, testIntake } from '../support/wire-point.js';

const BLOCK = 4096;
const STRIPE = 16 * BLOCK;

/** As `docs/format.md` says it. */
function told(bytes: Buffer): string {
  const streams: Buffer[][] = Array.from({ length: 16 }, () => []);
  for (let block = 0; block * BLOCK < bytes.length; block++)
    streams[block % 16]?.push(bytes.subarray(block * BLOCK, (block + 1) * BLOCK));
  const parts = streams.map((blocks) => createHash('sha256').update(Buffer.concat(blocks)).digest());
  return createHash('sha256')
    .update(Buffer.concat([Buffer.from('lemona sha256 x16 4096\n'), ...parts]))
    .digest('hex');
}

const content = new Random(16);
const BYTES = Buffer.from(Array.from({ length: 3 * STRIPE + BLOCK }, () => content.below(256)));
/** Around everything that ends somewhere: a step of SHA-256, its padding, blocks, stripes. */
const LENGTHS = [0, 64, BLOCK, 2 * BLOCK, 15 * BLOCK, STRIPE, STRIPE + BLOCK, 2 * STRIPE, 3 * STRIPE]
  .flatMap((border) => [-64, -9, -1, 0, 1, 55, 56].map((step) => border + step))
  .filter((length) => length >= 0);

describe('SHA-256 in sixteen streams', () => {
  let folder: string;

  before(async () => {
    folder = await testFolder();
  });

  after(() => rm(folder, { recursive: true }));

  it('is the same whatever pieces the bytes come in', () => {
    const random = new Random(4);
    for (const length of LENGTHS) {
      const bytes = BYTES.subarray(0, length);
      const wanted = told(bytes);
      expect(new Sha256x16().update(bytes).digest().toString('hex'), `${length} bytes`).to.equal(wanted);
      const hash = new Sha256x16();
      for (let at = 0; at < length; ) {
        const end = Math.min(length, at + random.pick([1, 63, BLOCK - 1, BLOCK, STRIPE + 5]));
        hash.update(bytes.subarray(at, end));
        at = end;
      }
      expect(hash.copy().update(Buffer.alloc(9)).digest().toString('hex')).to.equal(
        told(Buffer.concat([bytes, Buffer.alloc(9)])),
      );
      expect(hash.digest().toString('hex'), `${length} bytes in pieces`).to.equal(wanted);
    }
  });

  it('is what the audit makes of a file, a large one too', async () => {
    const large = Buffer.concat(Array<Buffer>(12).fill(BYTES));
    for (const bytes of [...LENGTHS.map((length) => BYTES.subarray(0, length)), large, large.subarray(0, 2 ** 20)]) {
      const file = path.join(folder, 'file');
      await writeFile(file, bytes);
      expect(await DIGESTS.sha256x16(file, bytes.length), `${bytes.length} bytes`).to.equal(told(bytes));
    }
  });

  it('can be made with split and openssl, as the documentation says', async () => {
    const page = (await sh`cat ${path.join(import.meta.dirname, '../../docs/format.md')}`).stdout;
    const recipe = /```sh\n(mkdir blocks [^`]*)```/.exec(page)?.[1] ?? 'exit 9';
    for (const length of [0, 1, BLOCK, 5 * BLOCK + 7, STRIPE, 3 * STRIPE + 1]) {
      const bytes = BYTES.subarray(0, length);
      await writeFile(path.join(folder, 'FILE'), bytes);
      const { stdout } = await sh`cd ${folder} && rm -rf blocks && sh -euc ${recipe}`;
      expect(stdout.split(' ')[0], `${length} bytes`).to.equal(told(bytes));
    }
  });

  for (const [name, more] of [
    ['as this processor does it best', undefined],
    ['as any processor does it', ['-static', '-DLEMONA_PORTABLE']],
  ] as const) {
    it(`is what the intake tells of a file, ${name}`, async function () {
      this.timeout(120_000);
      const program = await testIntake(more);
      for (const size of [100, STRIPE, 3 * STRIPE + 5000]) {
        const sent = Array.from({ length: 2 }, (_, i) =>
          subbuf([info(BYTES.toString('latin1', 0, size / 2))], { cpu: 0, number: BigInt(i), bootId: SIM_BOOT }),
        );
        const [first = Buffer.alloc(0)] = sent;
        const plain = sent.map((bytes) => Buffer.concat(frame(FRAME.SUBBUF, bytes)));
        const there = fileOf(first, Buffer.alloc(0)).length;
        const short = LENGTHS.filter((length) => length >= there && length <= there + STRIPE);
        for (const length of [...short, there + 64, there + 2 * STRIPE + 9]) {
          const extra = BYTES.subarray(0, length - there);
          const { digest } = await takeBy({ program, folder, mode: MODE.PLAIN, plain, limit: first.length, extra });
          expect(digest?.toString('hex'), `${there} bytes, and ${extra.length}`).to.equal(told(fileOf(first, extra)));
        }
      }
    });
  }
});
