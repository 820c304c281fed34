// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { parseImageKind } from '../../images/build.js';
import { mmdebstrapArgs } from '../../images/debian.js';
import { mke2fsArgs, usedInodes } from '../../images/ext4.js';
import { DEBIAN, RECIPES, TINY } from '../../images/recipes.js';
import { isStaticElf } from '../../images/tiny.js';
import { TOOLS } from '../../images/tools.js';
import { lastLine } from '../../images/watch.js';
import { LabError } from '../../lab/util/errors.js';

describe('images: recipes', () => {
  it('refuses an unknown image and names those there are', () => {
    for (const name of ['', 'Debian', 'toString', '__proto__']) {
      try {
        parseImageKind(name);
        expect.fail(`'${name}' was taken`);
      } catch (error) {
        expect(error).to.be.instanceOf(LabError);
        expect((error as LabError).code).to.equal('LAB_IMAGE_UNKNOWN');
        expect((error as LabError).next).to.contain('tiny, debian, suite, bench, rivals');
      }
    }
    expect(Object.keys(RECIPES).map(parseImageKind)).to.deep.equal(['tiny', 'debian', 'suite', 'bench', 'rivals']);
  });

  it('makes parents before children in the tiny tree, each once', () => {
    const seen = new Set(['.']);
    for (const { path } of TINY.tree) {
      const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '.';
      expect(seen.has(parent), `${path} comes after ${parent}`).to.equal(true);
      expect(seen.has(path), `${path} is there once`).to.equal(false);
      seen.add(path);
    }
  });

  it('spells out everything mke2fs would take from the host or from chance', () => {
    const argv = mke2fsArgs(TINY.filesystem, '/x/image', '/x/tree');
    const option = (name: string) => argv[argv.indexOf(name) + 1];
    expect(option('-U')).to.equal(TINY.filesystem.uuid);
    expect(option('-E')).to.contain(`hash_seed=${TINY.filesystem.hashSeed}`).and.to.contain('lazy_itable_init=0');
    expect(option('-O'))
      .to.match(/^none,/)
      .and.to.contain('metadata_csum');
    expect(option('-b')).to.equal('4096');
    expect(option('-I')).to.equal('256');
    expect(argv.slice(-2)).to.deep.equal(['/x/image', '256M']);
  });

  it('quotes what goes into the shell of an mmdebstrap hook', () => {
    const recipe = { ...DEBIAN, removed: ["it's"], files: [{ path: 'etc/f', content: "don't $(stop)\n" }] };
    const host = {
      sources: ['deb http://a.example bookworm main'],
      aptOptions: [],
      keyring: null,
      privilege: 'root' as const,
    };
    const argv = mmdebstrapArgs(recipe, '/out.tar', host);
    expect(argv).to.include(`--customize-hook=rm -rf "$1"/'it'\\''s'`);
    expect(argv).to.include(`--customize-hook=printf %s 'don'\\''t $(stop)\n' > "$1"/'etc/f'`);
    expect(argv.slice(-3)).to.deep.equal(['bookworm', '/out.tar', 'deb http://a.example bookworm main']);
    expect(argv.some((word) => word.startsWith('--keyring'))).to.equal(false);
  });

  it('finds the inodes in use in what dumpe2fs prints', () => {
    const dump = [
      'Inode count:              32',
      'Group 0: (Blocks 0-31)',
      '  Free blocks: 1-2',
      '  Free inodes: 13, 15-16',
      'Group 1: (Blocks 32-63)',
      '  Free inodes: 18-32',
      '',
    ].join('\n');
    expect(usedInodes(dump)).to.deep.equal([2, 11, 12, 14, 17]);
    expect(() => usedInodes('nothing')).to.throw('no inode count');
  });

  it('tells a static program from one that needs the dynamic loader', () => {
    expect(isStaticElf(readFileSync(process.execPath))).to.equal(false);
    expect(isStaticElf(Buffer.from('#!/bin/sh\n'))).to.equal(false);
    // A header of 64 bytes with one program header, LOAD or INTERP.
    const elf = (type: number) => {
      const bytes = Buffer.alloc(64 + 56);
      bytes.write('\x7fELF\x02', 'latin1');
      bytes.writeBigUInt64LE(64n, 32);
      bytes.writeUInt16LE(56, 54);
      bytes.writeUInt16LE(1, 56);
      bytes.writeUInt32LE(type, 64);
      return bytes;
    };
    expect(isStaticElf(elf(1))).to.equal(true);
    expect(isStaticElf(elf(3))).to.equal(false);
    expect(isStaticElf(elf(1).subarray(0, 64)), 'cut').to.equal(false);
  });

  it('shows the last line of a tool that redraws', () => {
    expect(lastLine('I: one\rI: two\n\n')).to.equal('I: two');
    expect(lastLine('')).to.equal('');
  });

  it('lists guest sources that are there, under their licence', () => {
    for (const tool of [TOOLS.init, TOOLS.mark]) {
      for (const source of tool.sources) {
        const text = readFileSync(new URL(`../../${tool.folder}/${source}`, import.meta.url), 'utf8');
        expect(text.startsWith('// SPDX-License-Identifier: MIT\n'), source).to.equal(true);
      }
    }
  });
});
