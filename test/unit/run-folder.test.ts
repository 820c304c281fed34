// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { sha256FileCached } from '../../lab/run/digest.js';
import { createRunFolder, openRun, runDirOf } from '../../lab/run/folder.js';
import { type RunManifest, writeAtomically, writeManifest } from '../../lab/run/manifest.js';
import { markOfInstant, restoreCheckpoint } from '../../lab/run/truth.js';
import { LabError } from '../../lab/util/errors.js';
import { silentLog } from '../../lab/util/log.js';
import { manifestOf } from '../support/manifest.js';

async function codeOf(work: () => unknown): Promise<string> {
  try {
    await work();
  } catch (error) {
    return error instanceof LabError ? error.code : String(error);
  }
  return 'nothing was thrown';
}

/** With a checkpoint and a mark, of that image. */
function markedManifest(raw: string): RunManifest {
  return manifestOf({
    image: { kind: 'tiny', digest: 'i', raw },
    checkpoints: [{ name: 'start', seq: '0', snapshot: null, sha256: 'b'.repeat(64) }],
    marks: [{ label: 'm1', seq: '9007199254740993', realNs: '1', snapshot: 'mark-m1' }],
  });
}

describe('the folder of a run', () => {
  let runs: string;
  let dir: string;

  beforeEach(async () => {
    runs = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    dir = path.join(runs, 'one');
  });

  afterEach(() => rm(runs, { recursive: true }));

  it('keeps a name inside the folder of runs', async () => {
    expect(runDirOf('/runs', 'a.b-1')).to.equal('/runs/a.b-1');
    for (const name of ['', '.', '..', '../x', 'a/b', '-x', 'a\n']) {
      expect(await codeOf(() => runDirOf('/runs', name)), JSON.stringify(name)).to.equal('LAB_USAGE');
    }
  });

  it('replaces an old run only when told to, and never anything else', async () => {
    const folder = await createRunFolder(dir, false);
    await writeManifest(folder.manifestFile, markedManifest('/raw'));
    expect(await codeOf(() => createRunFolder(dir, false))).to.equal('LAB_RUN_EXISTS');
    await createRunFolder(dir, true);
    expect(await codeOf(() => openRun(dir))).to.equal('LAB_RUN_UNKNOWN');
    const other = path.join(runs, 'photos');
    await mkdir(other);
    await writeFile(path.join(other, 'cat.jpg'), 'x');
    expect(await codeOf(() => createRunFolder(other, true))).to.equal('LAB_RUN_EXISTS');
    expect((await stat(path.join(other, 'cat.jpg'))).size).to.equal(1);
  });

  it('gives back the manifest with every digit', async () => {
    const folder = await createRunFolder(dir, false);
    await writeManifest(folder.manifestFile, markedManifest('/raw'));
    const run = await openRun(dir);
    expect(run.manifest).to.deep.equal(markedManifest('/raw'));
    expect(markOfInstant(run, 'mark:m1').seq).to.equal('9007199254740993');
  });

  it('says which field of a manifest is wrong', async () => {
    const folder = await createRunFolder(dir, false);
    await writeAtomically(folder.manifestFile, JSON.stringify({ ...markedManifest('/raw'), smp: 'two' }));
    expect(await codeOf(() => openRun(dir))).to.equal('LAB_RUN_CORRUPT');
    await writeFile(folder.manifestFile, '{');
    expect(await codeOf(() => openRun(dir))).to.equal('LAB_RUN_CORRUPT');
  });

  it('tells an unknown mark from an instant that has no truth', async () => {
    const folder = await createRunFolder(dir, false);
    await writeManifest(folder.manifestFile, markedManifest('/raw'));
    const run = await openRun(dir);
    expect(await codeOf(() => markOfInstant(run, 'mark:none'))).to.equal('LAB_INSTANT_UNKNOWN');
    expect(await codeOf(() => markOfInstant(run, 'end'))).to.equal('LAB_NO_TRUTH');
    expect(await codeOf(() => markOfInstant(run, 'seq:5'))).to.equal('LAB_NO_TRUTH');
  });

  it('refuses a checkpoint whose image was changed or is gone', async () => {
    const raw = path.join(runs, 'image.raw');
    await writeFile(raw, 'the image');
    const deps = { log: silentLog, cacheDir: path.join(runs, 'cache') };
    const folder = await createRunFolder(dir, false);
    await writeManifest(folder.manifestFile, markedManifest(raw));
    const run = await openRun(dir);
    const output = path.join(runs, 'out.qcow2');
    expect(await codeOf(() => restoreCheckpoint(run, output, 'qcow2', deps))).to.equal('LAB_CHECKPOINT_DIGEST');
    await rm(raw);
    expect(await codeOf(() => restoreCheckpoint(run, output, 'qcow2', deps))).to.equal('LAB_RUN_CORRUPT');
    expect(await codeOf(() => restoreCheckpoint(run, output, 'qcow2', deps, 'later'))).to.equal('LAB_RUN_STATE');
  });

  it('hashes a file again when it was changed', async () => {
    const file = path.join(runs, 'file');
    const cacheDir = path.join(runs, 'cache');
    await writeFile(file, 'one');
    const first = await sha256FileCached(file, cacheDir);
    expect(await sha256FileCached(file, cacheDir)).to.equal(first);
    await writeFile(file, 'two');
    expect(await sha256FileCached(file, cacheDir)).not.to.equal(first);
  });

  it('replaces a file as a whole', async () => {
    const file = path.join(runs, 'file');
    await writeAtomically(file, 'old');
    await writeAtomically(file, 'new');
    expect(await readFile(file, 'utf8')).to.equal('new');
    expect(await codeOf(() => writeAtomically(path.join(runs, 'no', 'file'), 'x'))).to.equal('LAB_ENV_IO');
  });
});
