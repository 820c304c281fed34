// SPDX-License-Identifier: MIT
/** A run is named in the same way everywhere: by its name, or by the path of its folder. */
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { VERBS } from '../../lab/cli/table.js';
import { findRunDir } from '../../lab/run/folder.js';
import { LabError } from '../../lab/util/errors.js';
import { LEMONA, lemona } from '../harness/command.js';
import { sh } from '../harness/sh.js';
import { manifestOf, traceOf } from '../support/manifest.js';
import { makeSealedRun } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';

describe('a run', function () {
  // Commands are processes.
  this.timeout(120_000);
  let folder: string;
  let run: string;
  let env: NodeJS.ProcessEnv;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    run = path.join(folder, 'elsewhere/one');
    env = { XDG_DATA_HOME: folder };
    const subbufs = [b.subbuf([b.nop(1n)], { number: 0n })];
    const manifest = manifestOf({ trace: traceOf(subbufs) });
    await makeSealedRun(run, path.join(folder, 'lemona-lab'), {
      ...{ subbufs, limitBytes: 1_000_000, acts: 0 },
      files: { 'run.json': JSON.stringify(manifest) },
    });
  });

  after(() => rm(folder, { recursive: true }));

  const call = (...words: string[]) => lemona(words, folder, { env });

  it('is found by a path, by a name, and not by what is neither', () => {
    expect(findRunDir('/runs', 'one')).to.equal('/runs/one');
    expect(findRunDir('/runs', './one')).to.equal(path.resolve('one'));
    expect(findRunDir('/runs', '/a/b/')).to.equal('/a/b');
    for (const word of ['.', '..', '', 'a b'])
      expect(() => findRunDir('/runs', word), word)
        .to.throw(LabError)
        .with.property('code', 'LAB_USAGE');
  });

  it('is taken by the path of its folder by each verb of evidence, and what was done is noted there', async () => {
    const package_ = path.join(folder, 'one.tar');
    const authority = path.join(folder, 'authority');
    await sh`sh ${path.join(path.dirname(LEMONA), 'lab/evidence/authority.sh')} make ${authority}`;
    for (const words of [
      ['audit', run],
      ['custody', './elsewhere/one', '--note', 'by hand'],
      ['timestamp', 'elsewhere/one', '--authority', authority],
      ['seal', `${run}/`, '--output', package_],
      ['audit', package_],
      ['stats', 'elsewhere/one'],
      ['events', 'elsewhere/one'],
    ]) {
      const { status, stderr } = await call(...words);
      expect(status, `${words.join(' ')}: ${stderr}`).to.equal(0);
    }
    const log = await readFile(path.join(run, 'custody.jsonl'), 'utf8');
    const acts = [...log.matchAll(/"act":"([a-z]+)"/g)].map(([, act]) => act);
    expect(acts).to.deep.equal(['begin', 'note', 'timestamp', 'seal']);
  });

  it('is said to be wanted in both ways by the help of every verb that takes one', () => {
    for (const { name, args } of VERBS)
      for (const arg of args)
        if (arg.name === 'run' && name !== 'query') expect(arg.help, name).to.match(/with a \/ in it/);
  });

  it('is not looked at before what was asked makes sense, and what does not is said with what to do', async () => {
    const point = path.join(folder, 'point');
    for (const [words, says] of [
      [['audit', run, '--head', 'abc'], /LAB_USAGE: --head abc is no head .*\nnext: name a head/],
      [['audit', 'one.tar'], /LAB_RUN_UNKNOWN.*\nnext: .*with a \/ in it \(\.\/one\.tar\)/],
      [['timestamp', run, '--authority', 'nope'], /LAB_USAGE: --authority nope: .*\nnext: .*authority\.sh make nope/],
      [
        ['timestamp', run, '--authority', 'http://a/', '--tsa', 'nope'],
        /LAB_USAGE: --tsa nope can not be read.*\nnext: /,
      ],
      [['events', run, '--syscall', 'opn'], /LAB_USAGE: --syscall 'opn' is not known\nnext: docs\/coverage\.md/],
      [['merge', run, './nope', '--run', 'two'], /LAB_RUN_UNKNOWN: .*nope can't be read(.*\n)*next: name runs/],
      [['enroll', point, 'W eb'], /LAB_USAGE: 'W eb' can't be a machine's name\nnext: /],
      [['enroll', point, 'web'], /LAB_USAGE: a passphrase of 0 characters.*\nnext: /],
      [['record', 'true'], /'--run <NAME>' not specified\n\(see: \.\/lemona help record\)/],
    ] as const) {
      const { status, stderr } = await call(...words);
      expect(status, words.join(' ')).to.equal(2);
      expect(stderr, words.join(' ')).to.match(says);
    }
  });

  it('is not packed from a folder whose name a package cannot hold', async () => {
    const odd = path.join(folder, 'elsewhere/a b');
    await cp(run, odd, { recursive: true });
    const { status, stderr } = await call('seal', odd, '--output', path.join(folder, 'odd.tar'));
    expect([status, stderr.includes("'a b' can't be the name of the folder in a package")]).to.deep.equal([2, true]);
  });

  it('is not sealed when the lab’s own witness saw more of it', async () => {
    const cut = path.join(folder, 'cut');
    await cp(run, cut, { recursive: true });
    const custody = path.join(cut, 'custody.jsonl');
    const text = await readFile(custody, 'utf8');
    await writeFile(custody, text.slice(0, text.indexOf('\n') + 1));
    const { status, stderr } = await call('seal', cut, '--output', path.join(folder, 'cut.tar'));
    expect(status, stderr).to.equal(1);
    expect(stderr).to.match(/LAB_CHECK_FAILED.*custody\.jsonl: entry 1: was cut/);
    expect(existsSync(path.join(folder, 'cut.tar'))).to.equal(false);
  });
});
