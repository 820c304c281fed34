// SPDX-License-Identifier: MIT
import { mkdir, readFile, rm, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { writeManifest } from '../../lab/run/manifest.js';
import { sh } from '../harness/sh.js';
import { useStore } from '../harness/store.js';
import { callVerb } from '../harness/verb.js';
import { failureOf } from '../support/failure.js';
import { manifestOf, traceOf } from '../support/manifest.js';
import { writeSegments } from '../support/run-builder.js';
import * as b from '../support/trace-builder.js';

const SUBBUFS = [0n, 1n, 2n].map((number) =>
  b.subbuf([b.entry(Number(number)), b.nop(number + 1n)], { number, issued: 2n * (number + 1n) }),
);

describe('a run whose folder is not as it was left', () => {
  const folder = useStore();
  const segment = (number: number) => path.join(folder(), 'r/segments', `00000${number}.seg`);
  /** Of a folder, so that no disk image is looked for. */
  const index = () => callVerb('index', '--quiet', `${folder()}/r`);
  const verb = (name: string, ...words: string[]) => callVerb(name, 'r', '--quiet', '--runs', folder(), ...words);

  beforeEach(async () => {
    await writeSegments(path.join(folder(), 'r'), SUBBUFS, 1);
    await writeManifest(path.join(folder(), 'r/run.json'), manifestOf({ name: 'r', trace: traceOf(SUBBUFS, 3) }));
  });

  async function statuses(): Promise<number[]> {
    const ended = [await verb('stats'), await verb('events'), await index()];
    return ended.map(({ status }) => status);
  }

  it('is none whose every byte is there', async () => {
    expect(await statuses()).to.deep.equal([0, 0, 0]);
  });

  const damages: readonly (readonly [string, () => Promise<unknown>])[] = [
    ['a flipped bit', () => readFile(segment(1)).then((bytes) => writeFile(segment(1), flip(bytes)))],
    ['a segment that was cut', () => truncate(segment(1), 90)],
    ['a segment that was removed', () => rm(segment(1))],
    ['a folder in its place', () => rm(segment(1)).then(() => mkdir(segment(1)))],
    ['a device without an end in its place', () => rm(segment(1)).then(() => symlink('/dev/zero', segment(1)))],
    ['a FIFO that nobody writes to in its place', () => rm(segment(1)).then(() => sh`mkfifo ${segment(1)}`)],
  ];
  for (const [name, damage] of damages) {
    it(`is told with status 1 by stats, events and index: ${name}`, async () => {
      await damage();
      expect(await statuses()).to.deep.equal([1, 1, 1]);
      expect((await verb('events')).stdout)
        .to.match(/read/)
        .and.to.match(/open/);
      // Told again by whoever looks at a database that is loaded already.
      expect((await index()).status).to.equal(1);
    });
  }

  it('is not called altered where it is the auditor who errs', async () => {
    const empty = path.join(folder(), 'no.pem');
    await writeFile(empty, 'nothing');
    for (const words of [
      ['--tsa', path.join(folder(), 'none.pem')],
      ['--tsa', empty],
      ['--lab-key', path.join(folder(), 'none.pem')],
      ['--lab-key', empty],
    ])
      expect((await failureOf(verb('audit', ...words))).code, words.join(' ')).to.equal('LAB_USAGE');
  });

  it('is told by events where all of it is gone', async () => {
    for (const number of SUBBUFS.keys()) await rm(segment(number));
    expect(await verb('events')).to.deep.equal({ status: 1, stdout: '' });
  });

  it('is no run with a run.json that is no file', async () => {
    const file = path.join(folder(), 'r/run.json');
    await rm(file);
    await sh`mkfifo ${file}`;
    expect((await failureOf(verb('stats'))).message).to.equal(`${file} is no regular file`);
  });

  it('has a custody log or says that there is none', async () => {
    expect((await failureOf(verb('custody'))).code).to.equal('LAB_RUN_STATE');
    expect((await failureOf(verb('custody', '--note', 'x'))).code).to.equal('LAB_RUN_STATE');
  });
});

function flip(bytes: Buffer): Buffer {
  const middle = Math.floor(bytes.length / 2);
  bytes[middle] = (bytes[middle] ?? 0) ^ 0x10;
  return bytes;
}

describe('filters of events', () => {
  it('are refused if they can let nothing through', async () => {
    const folder = '/nowhere';
    for (const words of [
      ['--syscall', 'nosuch'],
      ['--kind', 'nosuch'],
      ['--from', '5', '--to', '3'],
      ['--from', '-1'],
    ]) {
      const error = await failureOf(callVerb('events', 'r', '--runs', folder, ...words));
      expect(error.code, words.join(' ')).to.equal('LAB_USAGE');
    }
  });
});
