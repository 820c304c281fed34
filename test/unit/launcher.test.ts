// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { ROOT } from '../../lab/cli/invocation.js';

const SOURCES = ['lab', 'images', 'replay', 'guest-kernel'];

describe('the launcher', () => {
  it('installs every Debian package that an error message asks for', async () => {
    const launcher = await readFile(path.join(ROOT, 'lemona'), 'utf8');
    const sets = [...launcher.matchAll(/^\w+=['"]([^'"]*)['"]$/gm)].flatMap(([, words = '']) => words.split(' '));
    const asked = new Map<string, string>();
    for (const folder of SOURCES) {
      for (const entry of await readdir(path.join(ROOT, folder), { recursive: true })) {
        if (!entry.endsWith('.ts')) continue;
        const text = await readFile(path.join(ROOT, folder, entry), 'utf8');
        for (const [, list = ''] of text.matchAll(
          /install the packages ((?:[a-z0-9.+-]+, )*[a-z0-9.+-]+ and [a-z0-9.+-]+)/g,
        ))
          for (const name of list.split(/, | and /)) asked.set(name, path.join(folder, entry));
      }
    }
    expect(asked.size).to.be.greaterThan(4);
    const missing = [...asked].filter(([name]) => !sets.includes(name)).map(([name, file]) => `${name} (${file})`);
    expect(missing).to.deep.equal([]);
  });
});
