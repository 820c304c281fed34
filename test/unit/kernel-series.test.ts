// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { formatConfig, mergeConfigs, parseConfig, unmet } from '../../guest-kernel/kconfig.js';
import { applySeries, firstFailure, pathsOf, readDriver, readSeries, syncDriver } from '../../guest-kernel/series.js';
import { LabError } from '../../lab/util/errors.js';

const EDIT = { name: 'edit.patch', text: '--- a/fs/a.c\n+++ b/fs/a.c\n@@ -1,3 +1,3 @@\n one\n-two\n+TWO\n three\n' };
const CREATE = { name: 'create.patch', text: '--- /dev/null\n+++ b/lib/new.c\n@@ -0,0 +1 @@\n+new\n' };
const EDIT_MORE = {
  name: 'more.patch',
  text: '--- a/fs/a.c\n+++ b/fs/a.c\n@@ -1,3 +1,3 @@\n one\n-TWO\n+Two\n three\n',
};
const MISFIT = {
  name: 'misfit.patch',
  text: '--- a/fs/b.c\n+++ b/fs/b.c\n@@ -1 +1 @@\n-nothing like it\n+else\n',
};

describe('patch series', () => {
  let root: string;
  const file = (name: string) => path.join(root, 'src', name);
  const read = (name: string) => readFile(file(name), 'utf8');
  const apply = (patches: readonly { name: string; text: string }[]) =>
    applySeries({ root, patches, sourceName: 'linux-source-x 1.2.3' });

  beforeEach(async () => {
    root = await mkdtemp(path.join(tmpdir(), 'lemona-series-'));
    await mkdir(path.join(root, 'src/fs'), { recursive: true });
    await writeFile(file('fs/a.c'), 'one\ntwo\nthree\n');
    await writeFile(file('fs/b.c'), 'b\n');
  });
  afterEach(() => rm(root, { recursive: true, force: true }));

  it('applies in order, creates files, and goes back to the pristine tree', async () => {
    expect(await apply([EDIT, CREATE, EDIT_MORE])).to.have.members(['fs/a.c', 'lib/new.c']);
    expect(await read('fs/a.c')).to.equal('one\nTwo\nthree\n');
    expect(await read('lib/new.c')).to.equal('new\n');
    expect(await apply([])).to.have.members(['fs/a.c', 'lib/new.c']);
    expect(await read('fs/a.c')).to.equal('one\ntwo\nthree\n');
    expect(await stat(file('lib/new.c')).catch(() => 'absent')).to.equal('absent');
  });

  it('keeps the times of files whose bytes stay the same', async () => {
    await apply([EDIT, CREATE]);
    await utimes(file('lib/new.c'), 1000, 1000);
    expect(await apply([EDIT, EDIT_MORE, CREATE])).to.deep.equal(['fs/a.c']);
    expect((await stat(file('lib/new.c'))).mtimeMs).to.equal(1_000_000);
    expect(await apply([EDIT, EDIT_MORE, CREATE])).to.deep.equal([]);
  });

  it('names the patch, the hunk, the file and the source of a misfit, and leaves the tree alone', async () => {
    await apply([EDIT]);
    const error = await apply([EDIT, CREATE, MISFIT]).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    expect(error).to.be.instanceOf(LabError);
    expect((error as LabError).code).to.equal('LAB_KERNEL_PATCH');
    expect((error as LabError).message).to.include(
      'patch 3 of 3, misfit.patch, does not apply to linux-source-x 1.2.3',
    );
    expect((error as LabError).message).to.include('hunk 1 (at line 1) of fs/b.c');
    expect(await stat(file('lib/new.c')).catch(() => 'absent')).to.equal('absent');
    expect(await read('fs/a.c')).to.equal('one\nTWO\nthree\n');
  });

  it('takes no fuzz', async () => {
    const fuzzy = { name: 'fuzzy.patch', text: EDIT.text.replace(' three', ' four') };
    const error = await apply([fuzzy]).catch((thrown: unknown) => thrown);
    expect((error as LabError).code).to.equal('LAB_KERNEL_PATCH');
  });

  it('heals a tree that was left half-patched', async () => {
    await apply([EDIT, CREATE]);
    await writeFile(file('fs/a.c'), 'hal');
    await rm(file('lib/new.c'));
    await apply([EDIT, CREATE]);
    expect(await read('fs/a.c')).to.equal('one\nTWO\nthree\n');
    expect(await read('lib/new.c')).to.equal('new\n');
  });

  it('refuses paths that point out of the tree', () => {
    expect(() => pathsOf({ name: 'x', text: '--- a/../../etc/passwd\n+++ b/../../etc/passwd\n' })).to.throw(
      'out of the tree',
    );
  });

  it('reads quilt series with comments and names a patch that is missing', async () => {
    await writeFile(path.join(root, 'series'), '# all of it\nedit.patch # the first\n\n');
    await writeFile(path.join(root, 'edit.patch'), EDIT.text);
    expect((await readSeries(root)).map((patch) => patch.name)).to.deep.equal(['edit.patch']);
    await writeFile(path.join(root, 'series'), 'absent.patch\n');
    const error = await readSeries(root).catch((thrown: unknown) => thrown);
    expect((error as LabError).message).to.include('absent.patch');
  });

  it('says where patch stopped', () => {
    const said = 'patching file fs/a.c\nHunk #1 succeeded at 5 (offset 2 lines).\nHunk #2 FAILED at 40.\n';
    expect(firstFailure(said)).to.deep.equal({ file: 'fs/a.c', hunk: 'hunk 2 (at line 40)' });
  });

  it('brings drivers/lemona to exactly the files of module/', async () => {
    const driver = path.join(root, 'module');
    await mkdir(driver);
    for (const name of ['main.c', 'lemona.h', 'Kconfig', 'Makefile', 'notes.txt'])
      await writeFile(path.join(driver, name), name);
    const files = await readDriver(driver);
    expect([...files.keys()]).to.deep.equal(['Kconfig', 'Makefile', 'lemona.h', 'main.c']);
    await mkdir(file('drivers/lemona'), { recursive: true });
    await writeFile(file('drivers/lemona/old.c'), 'old');
    expect(await syncDriver(path.join(root, 'src'), files)).to.have.members([...files.keys(), 'old.c']);
    expect(await syncDriver(path.join(root, 'src'), files)).to.deep.equal([]);
  });
});

describe('kernel configurations', () => {
  it('lets later fragments win and puts them last', () => {
    const tiny = parseConfig('CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_SIZE=y\n', 'tiny');
    const more = parseConfig('# why\nCONFIG_B=m\nCONFIG_A=n\nCONFIG_S="x y"\n', 'more');
    expect(formatConfig(mergeConfigs(tiny, more))).to.equal(
      'CONFIG_SIZE=y\nCONFIG_B=m\n# CONFIG_A is not set\nCONFIG_S="x y"\n',
    );
  });

  it('names each wanted symbol that did not take', () => {
    const wanted = parseConfig('CONFIG_A=y\nCONFIG_B=m\nCONFIG_C=n\nCONFIG_D=""\nCONFIG_E=7\n', 'wanted');
    const got = parseConfig('CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_E=7\n', 'got');
    expect(unmet(wanted, got)).to.deep.equal(['CONFIG_B: wanted m, got y']);
    expect(unmet(wanted, new Map())).to.have.length(3);
  });

  it('refuses a line that is none', () => {
    expect(() => parseConfig('CONFIG_A y\n', 'frag')).to.throw(
      "frag:1: not a line of a kernel configuration: 'CONFIG_A y'",
    );
  });
});
