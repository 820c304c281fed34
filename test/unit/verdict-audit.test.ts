// SPDX-License-Identifier: MIT
import { createHash } from 'node:crypto';
import {
  appendFile,
  cp,
  mkdir,
  mkdtemp,
  readFile,
  rename,
  rm,
  stat,
  symlink,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { auditLines } from '../../lab/cli/verbs/audit.js';
import { EvidenceChain } from '../../lab/evidence/chain.js';
import { noteCustody } from '../../lab/evidence/custody.js';
import { LabError } from '../../lab/util/errors.js';
import { signAnew } from '../fuzz/alter-run.js';
import { Random } from '../fuzz/random.js';
import { randomShape, tamper } from '../fuzz/tampering.js';
import { failureOf } from '../support/failure.js';
import { makeSealedRun, readFolder, type SealedRunShape, sha256Of, writeFiles } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';

const SHAPE: SealedRunShape = {
  subbufs: [0n, 1n, 2n].map((number) => b.subbuf([b.nop(number + 1n)], { number })),
  limitBytes: 1,
  files: { 'run.json': '{}\n', 'disk/disk.qcow2': 'disk' },
  acts: 1,
};

describe('the chain of a run, and its audit', function () {
  // Hundreds of small files, many of them synced: slow where many do that at once.
  this.timeout(90_000);
  let folder: string;
  let dir: string;
  let dataDir: string;
  let witness: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    dir = path.join(folder, 'run');
    dataDir = path.join(folder, 'data');
    witness = path.join(dataDir, 'heads.jsonl');
  });

  afterEach(() => rm(folder, { recursive: true }));

  const found = async (options: Parameters<typeof auditRun>[1] = {}) =>
    (await auditRun(dir, options)).findings.map(({ file, at, what }) => [file, at, what].filter(Boolean).join(': '));

  it('is intact when nobody touched it, and the witness saw all of it', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const report = await auditRun(dir, { witness, heads: [witness] });
    expect(report.findings).to.deep.equal([]);
    expect(report).to.include({ run: 'run', isClosed: true, entries: 5, witnessed: 5, custody: 2, files: 5 });
    expect((await auditRun(dir, { heads: [report.head ?? ''] })).witnessed).to.equal(5);
  });

  it('keeps the lab’s key from others and makes it once, even if two begin together', async () => {
    const runs = ['a', 'b', 'c'].map((name) => path.join(folder, name));
    await Promise.all(runs.map((run) => makeSealedRun(run, dataDir, SHAPE)));
    const labs = await Promise.all(runs.map(async (run) => (await auditRun(run)).lab));
    expect(new Set(labs).size).to.equal(1);
    expect((await stat(path.join(dataDir, 'lab-key.pem'))).mode & 0o777).to.equal(0o600);
  });

  it('raises no false alarm over untouched runs of random shapes', async () => {
    const random = new Random(7);
    for (let i = 0; i < 12; i++) {
      await rm(dir, { recursive: true, force: true });
      await makeSealedRun(dir, dataDir, randomShape(random));
      await writeFiles(dir, { 'keyframes/0/disk': 'made later' });
      expect((await auditRun(dir, { witness })).findings, `run ${i}`).to.deep.equal([]);
    }
  });

  for (const seed of [1, 2, 3, 4, 5, 6]) {
    it(`finds each of 50 random alterations, seed ${seed}`, async () => {
      const { missed } = await tamper(folder, 50, new Random(seed));
      expect(missed).to.deep.equal([]);
    });
  }

  it('says where a segment was changed, and what else is wrong', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const segment = path.join(dir, 'segments/000001.seg');
    const bytes = await readFile(segment);
    bytes[64 + 100] = (bytes[64 + 100] ?? 0) ^ 1;
    await writeFile(segment, bytes);
    await rm(path.join(dir, 'segments/000002.seg'));
    await writeFile(path.join(dir, 'segments/000003.seg'), bytes);
    const findings = await found();
    expect(findings).to.have.length(3);
    expect(findings[0]).to.match(
      /^segments\/000001\.seg: offset 64: was changed: sha256x16 [0-9a-f]{64}, entry 2 of the/,
    );
    expect(findings[1]).to.match(/^segments\/000003\.seg: was put in: \d+ bytes that the chain does not name$/);
    expect(findings[2]).to.equal('segments/000002.seg: is gone: entry 3 of the chain names it');
  });

  it('says which file’s content stands in the wrong place', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    await writeFile(path.join(dir, 'segments/000000.seg'), await readFile(path.join(dir, 'segments/000001.seg')));
    expect(await found()).to.deep.equal(['segments/000000.seg: holds what belongs into segments/000001.seg']);
  });

  it('takes no link for a file, whatever it leads to', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    await rm(path.join(dir, 'run.json'));
    await writeFile(path.join(folder, 'elsewhere'), '{}\n');
    await symlink(path.join(folder, 'elsewhere'), path.join(dir, 'run.json'));
    expect(await found()).to.deep.equal(['run.json: is neither a file nor a folder']);
  });

  it('tells what a killed writer left unsigned, which is no alteration and no proof', async () => {
    await makeSealedRun(dir, dataDir, { ...SHAPE, end: 'killed' });
    const report = await auditRun(dir, { witness });
    expect(report.findings).to.deep.equal([]);
    expect(report.isClosed).to.equal(false);
    expect(report.unsigned.map(({ file }) => file)).to.deep.equal([
      ...['disk/disk.qcow2', 'run.json', 'segments/000002.seg'],
    ]);
    const options = { dir, dataDir, digest: sha256Of };
    await (await EvidenceChain.resume(options)).close();
    const closed = await auditRun(dir, { witness });
    expect(closed).to.include({ isClosed: true, files: 5 });
    expect(closed.findings).to.deep.equal([]);
    expect(closed.resumed).to.have.length(1);
    const again = await EvidenceChain.resume(options).catch((error: unknown) => error);
    expect(again).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_RUN_STATE' });
  });

  it('goes on with a chain in one folder only, but wherever that was moved to', async () => {
    await makeSealedRun(dir, dataDir, { ...SHAPE, end: 'killed' });
    const copy = path.join(folder, 'copy');
    await cp(dir, copy, { recursive: true });
    const options = { dir: copy, dataDir, digest: sha256Of };
    const before = await readFolder(copy);
    const error = await failureOf(EvidenceChain.resume(options));
    const { id } = await auditRun(dir, {});
    expect([error.code, error.message]).to.deep.equal([
      'LAB_RUN_STATE',
      `${copy} is a copy: this lab wrote the chain of run ${id} in ${dir}`,
    ]);
    expect(await readFolder(copy)).to.deep.equal(before);
    // Another run is in its place.
    await rm(dir, { recursive: true });
    await makeSealedRun(dir, dataDir, SHAPE);
    await (await EvidenceChain.resume(options)).close();
    expect((await auditRun(copy, { witness })).findings).to.deep.equal([]);

    const [old, moved, name] = ['old', 'moved', 'name'].map((last) => path.join(folder, last)) as [
      string,
      string,
      string,
    ];
    await makeSealedRun(old, dataDir, { ...SHAPE, end: 'killed' });
    await rename(old, moved);
    await symlink(moved, name);
    await symlink(moved, old);
    await (await EvidenceChain.resume({ ...options, dir: name })).close();
    expect((await auditRun(moved, { witness })).findings).to.deep.equal([]);

    // What is in its old place is no chain.
    const [left, gone] = ['left', 'gone'].map((last) => path.join(folder, last)) as [string, string];
    await makeSealedRun(left, dataDir, { ...SHAPE, end: 'killed' });
    await rename(left, gone);
    await mkdir(left);
    await writeFile(path.join(left, 'chain.jsonl'), 'notes on chains\n');
    await (await EvidenceChain.resume({ ...options, dir: gone })).close();
  });

  it('judges a chain of the older format, whose segments have one digest, and says of any other that it is unknown', async () => {
    const chain = path.join(dir, 'chain.jsonl');
    const begin = async (format: number) => {
      const text = await readFile(chain, 'utf8');
      await writeFile(chain, text.replace(/"format":\d/, `"format":${format}`));
      await writeFiles(dir, Object.fromEntries(signAnew(await readFolder(dir))));
    };
    await makeSealedRun(dir, dataDir, { ...SHAPE, end: 'killed' });
    const segments = new Map<string, string>();
    for (const [file, bytes] of await readFolder(dir))
      segments.set(file, createHash('sha256').update(bytes).digest('hex'));
    const older = (await readFile(chain, 'utf8')).replace(
      /"file":"([^"]+)"(.*?)"sha256x16":"\w+"/g,
      (_, file: string, between: string) => `"file":"${file}"${between}"sha256":"${segments.get(file)}"`,
    );
    await writeFile(chain, older);
    expect(await found()).to.contain("chain.jsonl: entry 1: is not signed by the run's key");
    await begin(1);
    expect(await found()).to.deep.equal([]);
    const next = await EvidenceChain.resume({ dir, dataDir, digest: sha256Of }).catch((reason: unknown) => reason);
    expect(next).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_RUN_STATE' });
    expect(String(next)).to.match(/chain\.jsonl is of format 1, wanted 2/);
    await begin(3);
    expect(await found()).to.contain(
      'chain.jsonl: entry 0: begins a chain of format 3: formats 1 and 2 are known here',
    );
  });

  it('lets only the lab that began a chain go on with it', async () => {
    await makeSealedRun(dir, dataDir, { ...SHAPE, end: 'killed' });
    const other = { dir, dataDir: path.join(folder, 'other'), digest: sha256Of };
    const error = await EvidenceChain.resume(other).catch((reason: unknown) => reason);
    expect(error).to.be.instanceOf(LabError).and.to.include({ code: 'LAB_RUN_STATE' });
  });

  it('needs a witness to find a cut custody log and a run that another lab signed anew', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const { head } = await auditRun(dir);
    const run = await readFolder(dir);
    await writeFiles(dir, Object.fromEntries(signAnew(run)));
    expect(await found()).to.deep.equal([]);
    expect(await found({ witness })).to.have.length(2);
    expect(await found({ heads: [head ?? ''] })).to.have.length(1);
    await writeFiles(dir, Object.fromEntries(run));
    const custody = run.get('custody.jsonl') ?? Buffer.alloc(0);
    await truncate(path.join(dir, 'custody.jsonl'), custody.indexOf('\n') + 1);
    expect(await found()).to.deep.equal([]);
    expect(await found({ witness })).to.deep.equal([
      `custody.jsonl: entry 1: was cut: the witness ${witness} saw 2 entries, 1 are there`,
    ]);
  });

  it('finds a run in the place of another, and one its witness does not know', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    await rm(dir, { recursive: true });
    await makeSealedRun(dir, path.join(folder, 'other'), SHAPE);
    expect((await found({ witness }))[0]).to.match(/saw another run begin in this folder/);
    await mkdir(path.join(folder, 'moved'));
    expect((await found({ heads: [path.join(folder, 'other/heads.jsonl')] })).length).to.equal(0);
    const unknown = await auditRun(dir, { heads: [await emptyFile()] });
    expect(unknown.findings.map(({ what }) => what)).to.deep.equal(['does not know this run']);
  });

  it('finds a run that was forged with the lab’s key and lies where the witness saw none', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const thief = path.join(folder, 'thief');
    await mkdir(thief);
    for (const name of ['lab-key.pem', 'lab-key.pub.pem']) await cp(path.join(dataDir, name), path.join(thief, name));
    const own = (await auditRun(dir)).lab ?? '';
    expect(await found({ witness, own })).to.deep.equal([]);
    const moved = path.join(folder, 'moved');
    await cp(dir, moved, { recursive: true });
    expect(await auditRun(moved, { witness, own })).to.deep.include({ findings: [], witnessed: 5 });
    const forged = path.join(folder, 'elsewhere/run');
    await makeSealedRun(forged, thief, SHAPE);
    const whats = async (run: string) => (await auditRun(run, { witness, own })).findings.map(({ what }) => what);
    expect(await whats(forged)).to.deep.equal(['does not know this run']);
    // One of another lab it need not know; then nobody vouches for it, and the audit says so.
    const foreign = path.join(folder, 'foreign/run');
    await makeSealedRun(foreign, path.join(folder, 'other'), SHAPE);
    const report = await auditRun(foreign, { witness, own });
    expect(report.findings).to.deep.equal([]);
    expect(auditLines(report).some((line) => line.startsWith('it has no witness'))).to.equal(true);
  });

  it('takes what was done to a copy for nothing that was done to the run, and the other way round', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const copy = path.join(folder, 'copy');
    await cp(dir, copy, { recursive: true });
    const act = { act: 'verify', args: [], version: '1', began: '', status: 0 } as const;
    await noteCustody(copy, dataDir, act);
    await noteCustody(copy, dataDir, act);
    for (const run of [dir, copy]) expect((await auditRun(run, { witness })).findings).to.deep.equal([]);
    await noteCustody(dir, dataDir, act);
    for (const run of [dir, copy]) expect((await auditRun(run, { witness })).findings).to.deep.equal([]);
    const log = path.join(dir, 'custody.jsonl');
    const lines = (await readFile(log, 'utf8')).trimEnd().split('\n');
    await writeFile(log, `${lines.slice(0, -1).join('\n')}\n`);
    expect((await found({ witness }))[0]).to.match(/^custody\.jsonl: entry \d: was cut/);
  });

  it('tells what a run took the place of wherever it was moved to', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const { id } = await auditRun(dir);
    await rm(dir, { recursive: true });
    await makeSealedRun(dir, dataDir, SHAPE);
    const moved = path.join(folder, 'moved');
    await cp(dir, moved, { recursive: true });
    for (const run of [dir, moved])
      expect(await auditRun(run, { witness })).to.deep.include({ findings: [], earlier: [id] });
  });

  const emptyFile = async () => {
    const file = path.join(folder, 'empty');
    await writeFile(file, '');
    return file;
  };

  it('names the custody entries of labs that are not trusted', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const began = new Date().toISOString();
    const other = path.join(folder, 'other');
    await noteCustody(dir, other, { act: 'verify', args: [], version: '1', began, status: 0 });
    expect((await found())[0]).to.match(
      /^custody\.jsonl: entry 2: is signed by a key nobody knows here: [0-9a-f]{64}$/,
    );
    const pem = await readFile(path.join(other, 'lab-key.pub.pem'), 'utf8');
    expect(await found({ own: pem.split('\n')[1] ?? '' })).to.deep.equal([]);
  });

  it('goes on behind half a line that a full disk left in a log', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const custody = path.join(dir, 'custody.jsonl');
    await appendFile(custody, '{"kind":"cust');
    expect((await found())[0]).to.match(/^custody\.jsonl: offset \d+: ends in 13 bytes that are no entry/);
    await noteCustody(dir, dataDir, { act: 'verify', args: [], version: '1', began: '', status: 0 });
    expect(await found({ witness })).to.deep.equal([]);
  });

  it('lets acts that end together stand one after the other', async () => {
    await makeSealedRun(dir, dataDir, SHAPE);
    const act = { act: 'verify', args: [], version: '1', began: '', status: 0 };
    await Promise.all(Array.from({ length: 8 }, () => noteCustody(dir, dataDir, act)));
    const report = await auditRun(dir, { witness });
    expect(report.findings).to.deep.equal([]);
    expect(report.custody).to.equal(10);
  });
});
