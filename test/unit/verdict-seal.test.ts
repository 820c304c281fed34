// SPDX-License-Identifier: MIT
import { mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { auditPackage } from '../../lab/audit/package.js';
import { readCustody } from '../../lab/evidence/custody.js';
import { checkPackageNames, writePackage } from '../../lab/evidence/seal.js';
import { LabError } from '../../lab/util/errors.js';
import { signAnew } from '../fuzz/alter-run.js';
import { sh } from '../harness/sh.js';
import { failureOf } from '../support/failure.js';
import { makeSealedRun, readFolder, sha256Of, writeFiles } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';

const { signal } = new AbortController();

/** Makes a segment long enough for all streams of its digest. */
const FILLER = b.info('x'.repeat(90_000));

describe('a sealed package', function () {
  // Each line of each log is a process of openssl.
  this.timeout(90_000);
  let folder: string;
  let root: string;
  let dataDir: string;

  /** A package of a run, unpacked into `root`. */
  async function unpacked(output = path.join(folder, 'p.tar')): Promise<void> {
    const dir = path.join(folder, 'my-run');
    await makeSealedRun(dir, dataDir, {
      ...{
        subbufs: [0n, 1n].map((number) => b.subbuf([b.nop(number + 1n), FILLER], { number })),
        limitBytes: 1,
        acts: 2,
      },
      files: { 'run.json': '{}\n', 'disk/disk.qcow2': Buffer.alloc(100_000), 'boots/1/console log': 'x' },
    });
    await writeFiles(dir, { 'keyframes/0': 'no evidence' });
    await writePackage({ dir, dataDir, output, digest: sha256Of, signal });
    await mkdir(root);
    await sh`tar -xf ${output} -C ${root}`;
  }

  /** What the script in the package says. */
  async function checkByScript(): Promise<{ status: number; said: string }> {
    const { exitCode, stdout, stderr } = await sh({ nothrow: true })`sh ${path.join(root, 'SEAL/check.sh')}`;
    return { status: exitCode ?? -1, said: stdout + stderr };
  }

  /** Both checks of what is in `root`: findings of the audit, and the script's words. */
  async function checked() {
    const { findings } = await auditPackage(root, {});
    const script = await checkByScript();
    return { findings: findings.map(({ file, what }) => `${file}: ${what}`), ...script };
  }

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    root = path.join(folder, 'unpacked');
    dataDir = path.join(folder, 'data');
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('is checked by the audit, and by coreutils and openssl alone', async () => {
    await unpacked(path.join(folder, 'p.tar.zst'));
    const { findings, status, said } = await checked();
    expect(findings).to.deep.equal([]);
    expect(status, said).to.equal(0);
    expect(said).to.match(
      /^lab [0-9a-f]{64}\n.*chain\.jsonl: 4 entries, head [0-9a-f]{64}\n(.*\n)*everything is as it/,
    );
    expect([...(await readFolder(root)).keys()].some((name) => name.includes('keyframes'))).to.equal(false);
  });

  it('is refused if the run has a file whose name the list of sums cannot hold', async () => {
    const dir = path.join(folder, 'my-run');
    const output = path.join(folder, 'p.tar');
    for (const name of ['line\nfeed', 'back\\slash', 'return\r']) {
      await makeSealedRun(dir, dataDir, { subbufs: [], limitBytes: 1, acts: 0, files: { [name]: 'x' } });
      const error = await failureOf(writePackage({ dir, dataDir, output, digest: sha256Of, signal }));
      expect(error.code, name).to.equal('LAB_RUN_CORRUPT');
      await rm(dir, { recursive: true });
    }
    expect((await readdir(folder)).some((name) => name.startsWith('p.tar'))).to.equal(false);
  });

  const CHANGES: Readonly<Record<string, { file: string; change: (bytes: Buffer) => Buffer; says: RegExp }>> = {
    'a byte of a segment': {
      file: 'my-run/segments/000001.seg',
      change: (bytes) => bytes.fill(0xff, 100, 101),
      says: /my-run\/segments\/000001\.seg: FAILED(.*\n)*FAILED: a file is not the one that was sealed/,
    },
    'the manifest': {
      file: 'SEAL/MANIFEST.sha256',
      change: (bytes) => bytes.subarray(bytes.indexOf('\n') + 1),
      says: /MANIFEST\.sha256 is not signed by the lab/,
    },
    'the script': {
      file: 'SEAL/check.sh',
      change: (bytes) => Buffer.concat([bytes, Buffer.from('# \n')]),
      says: /check\.sh/,
    },
    'the custody log': {
      file: 'my-run/custody.jsonl',
      change: (bytes) => bytes.subarray(0, bytes.indexOf('\n') + 1),
      says: /custody\.jsonl: FAILED/,
    },
  };
  for (const [name, { file, change, says }] of Object.entries(CHANGES)) {
    it(`with ${name} changed is refused by both`, async () => {
      await unpacked();
      const full = path.join(root, file);
      await writeFile(full, change(await readFile(full)));
      const { findings, status, said } = await checked();
      expect(findings.join('\n')).to.contain(file);
      expect(status).to.equal(1);
      expect(said).to.match(says);
    });
  }

  it('with a file more is refused by both', async () => {
    await unpacked();
    await writeFiles(root, { 'my-run/segments/000002.seg': 'new' });
    const { findings, status, said } = await checked();
    expect(findings.join('\n')).to.match(/000002\.seg: was put in: the manifest does not list it/);
    expect([status, /^> my-run\/segments\/000002\.seg$/m.test(said)]).to.deep.equal([1, true]);
  });

  it('whose run another lab signed anew does not fit to its manifest', async () => {
    await unpacked();
    const dir = path.join(root, 'my-run');
    await writeFiles(dir, Object.fromEntries(signAnew(await readFolder(dir))));
    const { findings, status } = await checked();
    expect(findings.join('\n')).to.contain('is not the key of the lab that recorded the run');
    expect(status).to.equal(1);
  });

  it('has a chain that the script follows by itself, whatever the manifest says', async () => {
    await unpacked();
    const chain = path.join(root, 'my-run/chain.jsonl');
    const size = (await readFile(chain)).lastIndexOf('\n', -2) + 1;
    const script = (await readFile(path.join(root, 'SEAL/check.sh'), 'utf8')).replace(
      /^sha256sum --check .*SEAL.*$/m,
      '',
    );
    await writeFile(path.join(root, 'SEAL/check.sh'), script);
    const good = await readFile(chain, 'utf8');
    await truncate(chain, size);
    expect((await checkByScript()).said).to.match(/chain\.jsonl was not closed/);
    await writeFile(chain, good.replace('"bytes":', '"bytes" :'));
    expect((await checkByScript()).said).to.match(/chain\.jsonl: entry 1 is not signed by the right key/);
    await writeFile(chain, `${good.split('\n').toSpliced(1, 1).join('\n')}`);
    expect((await checkByScript()).said).to.match(/chain\.jsonl: entry 1 does not follow/);
    await writeFile(chain, good);
    expect((await checkByScript()).status).to.equal(0);
    for (const at of [0, 70_000, -1]) {
      const segment = path.join(root, 'my-run/segments/000001.seg');
      const bytes = await readFile(segment);
      const changed = Buffer.from(bytes);
      changed.writeUInt8((changed.at(at) ?? 0) ^ 1, at < 0 ? bytes.length + at : at);
      await writeFile(segment, changed);
      const { status, said } = await checkByScript();
      expect(status).to.equal(1);
      expect(said).to.match(/FAILED: my-run\/segments\/000001\.seg is not the one that the chain names/);
      await writeFile(segment, bytes);
    }
  });

  it('is not written under a name that does not say what it is, nor left half', async () => {
    for (const name of ['p.zip', 'tar', 'p.tar.gz']) {
      expect(() => checkPackageNames('r', name)).to.throw(LabError, /ends in \.tar or \.tar\.zst/);
    }
    const stopped = AbortSignal.abort();
    const dir = path.join(folder, 'r');
    await makeSealedRun(dir, dataDir, { subbufs: [], limitBytes: 1, acts: 0, files: { 'run.json': '{}' } });
    const output = path.join(folder, 'out/p.tar');
    await writePackage({ dir, dataDir, output, digest: sha256Of, signal: stopped }).catch(() => undefined);
    expect([...(await readFolder(path.join(folder, 'out'))).keys()]).to.deep.equal([]);
  });

  it('carries who did what', async () => {
    await unpacked();
    const entries = await readCustody(path.join(root, 'my-run'));
    expect(entries.map(({ act, args }) => [act, args?.length])).to.deep.equal([
      ['begin', undefined],
      ['verify', 2],
      ['verify', 2],
    ]);
    expect(entries.every(({ who }) => who.user !== '' && who.host !== '')).to.equal(true);
  });
});
