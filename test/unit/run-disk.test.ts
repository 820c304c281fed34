// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { checkImagePath } from '../../lab/run/disk.js';
import { failureOf } from '../support/failure.js';

describe('the path of a new image', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('is refused before anything is done, where no file can be made', async () => {
    await writeFile(path.join(folder, 'file'), 'x');
    await mkdir(path.join(folder, 'folder'));
    for (const name of ['a.raw', 'file', 'folder/a.raw']) await checkImagePath(path.join(folder, name));
    for (const name of ['no/a.raw', 'file/a.raw', 'folder'])
      expect((await failureOf(checkImagePath(path.join(folder, name)))).code, name).to.equal('LAB_USAGE');
  });
});
