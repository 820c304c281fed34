// SPDX-License-Identifier: MIT
/** Images are compared without the bytes that nobody vouches for, whatever the size of the files. */
import { mkdir, open, truncate } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { TO_THE_END } from '../../lab/trace/lost.js';
import { allowances, hiddenBytes, type Unvouched } from '../../replay/unvouched.js';
import { writeMask } from '../../replay/verify/names.js';
import { verifyImages } from '../../replay/verify.js';
import { useBench } from '../harness/boot.js';
import { sh } from '../harness/sh.js';

const GIB = 2 ** 30;
const MIB = 2 ** 20;

interface File {
  readonly sizeBytes: number;
  /** Text by its offset. */
  readonly at: Readonly<Record<number, string>>;
}

describe('a comparison with a mask', () => {
  const bench = useBench();

  /** An image with one file, which is as sparse as its text. */
  async function imageOf(name: string, file: File): Promise<string> {
    const folder = path.join(bench().folder, name);
    await mkdir(folder, { recursive: true });
    const handle = await open(path.join(folder, 'f'), 'w');
    for (const [offset, text] of Object.entries(file.at)) await handle.write(text, Number(offset));
    await handle.close();
    await truncate(path.join(folder, 'f'), file.sizeBytes);
    const image = `${folder}.raw`;
    await sh`mke2fs -q -F -t ext4 -E hash_seed=00000000-0000-0000-0000-000000000001 -d ${folder} ${image} 64M`;
    return image;
  }

  async function fieldsThatDiffer(a: File, b: File, first: number, end: bigint): Promise<string[]> {
    const [rebuilt, truth] = [await imageOf('a', a), await imageOf('b', b)];
    const list: Unvouched[] = [
      { path: '/', what: ['times'], ranges: [] },
      { path: '/lost+found', what: ['times'], ranges: [] },
      { path: '/f', what: ['content', 'attributes', 'times'], ranges: [{ first: BigInt(first), end }] },
    ];
    const maskFile = path.join(bench().folder, 'mask');
    await writeMask(maskFile, hiddenBytes(list));
    const verdict = await verifyImages(rebuilt, truth, bench().ctx, undefined, {
      allowances: allowances(list),
      maskFile,
    });
    return verdict.first.map((difference) => `${difference.path} ${difference.field}`);
  }

  for (const [title, small, large] of [
    ['of small files', 3 * MIB + 100, 5 * MIB],
    ['of files above 1 GiB', GIB + 100, 2 * GIB],
    ['of a small file and one above 1 GiB', 3 * MIB + 100, 2 * GIB],
  ] as const) {
    const at = { 0: 'head', [MIB]: 'same' };

    it(`hides the bytes that it names, and an end that is not known, ${title}`, async () => {
      const a = { sizeBytes: small, at: { ...at, [small - 10]: 'rebuilt' } };
      const b = { sizeBytes: large, at: { ...at, [small - 10]: 'truth', [large - 9]: 'the end' } };
      expect(await fieldsThatDiffer(a, b, small - 10, TO_THE_END)).to.deep.equal([]);
    });

    it(`finds one byte beside them, ${title}`, async () => {
      const a = { sizeBytes: small, at: { ...at, [small - 11]: 'Rebuilt' } };
      const b = { sizeBytes: large, at: { ...at, [small - 11]: 'rebuilt' } };
      expect(await fieldsThatDiffer(a, b, small - 10, TO_THE_END)).to.deep.equal(['/f sha256']);
    });
  }
});
