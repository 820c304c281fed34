// SPDX-License-Identifier: MIT
import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { auditPackage } from '../../lab/audit/package.js';
import { writePackage } from '../../lab/evidence/seal.js';
import { type Authority, stampRun } from '../../lab/evidence/timestamp.js';
import { runTool } from '../../lab/proc/tool.js';
import { LabError } from '../../lab/util/errors.js';
import { signAnew } from '../fuzz/alter-run.js';
import { Random } from '../fuzz/random.js';
import { makeSealedRun, readFolder, sha256Of, writeFiles } from '../support/sealed-run.js';
import * as b from '../support/trace-builder.js';

const SCRIPT = path.join(import.meta.dirname, '../../lab/evidence/authority.sh');
const { signal } = new AbortController();

describe('a time stamp on a run', function () {
  // Each look at one is two runs of openssl.
  this.timeout(90_000);
  let folder: string;
  let dir: string;
  let dataDir: string;
  let authority: Authority;

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    for (const name of ['authority', 'another']) await runTool(['sh', SCRIPT, 'make', path.join(folder, name)]);
    authority = authorityOf('authority');
    dataDir = path.join(folder, 'data');
    await makeSealedRun(path.join(folder, 'run'), dataDir, {
      subbufs: [0n, 1n, 2n].map((number) => b.subbuf([b.nop(number + 1n)], { number })),
      limitBytes: 1,
      files: { 'run.json': '{}\n' },
      acts: 1,
    });
    await stampRun(path.join(folder, 'run'), authority, signal);
  });

  after(() => rm(folder, { recursive: true }));

  beforeEach(async () => {
    dir = path.join(folder, 'r');
    await cp(path.join(folder, 'run'), dir, { recursive: true });
  });

  afterEach(() => rm(dir, { recursive: true }));

  const authorityOf = (name: string): Authority => {
    const where = path.join(folder, name);
    return { where, ca: path.join(where, 'ca.pem') };
  };
  const found = async (tsa = authority.ca) =>
    (await auditRun(dir, { tsa })).findings.map(({ file, at, what }) => [file, at, what].filter(Boolean).join(': '));

  it('holds: it says how far both logs were, and when', async () => {
    const report = await auditRun(dir, { tsa: authority.ca });
    expect(report.findings).to.deep.equal([]);
    expect(report.stamps.map(({ file, entries }) => [file, entries])).to.deep.equal([
      ['timestamps/chain-5.tsr', 5],
      ['timestamps/custody-2.tsr', 2],
    ]);
    const [stamp] = report.stamps;
    expect(Math.abs(Date.now() - Date.parse(stamp?.time ?? ''))).to.be.below(600_000);
    expect((await auditRun(dir)).unchecked).to.equal(2);
  });

  it('is found when it is of another authority, and when there is none', async () => {
    const another = await found(authorityOf('another').ca);
    expect(another).to.have.length(3);
    expect(another[0]).to.match(/^timestamps\/chain-5\.tsr: is no stamp of entry 4 .*(verify|certificate)/);
    expect(another[2]).to.match(/^timestamps: holds no good time stamp of the chain by the authority of/);
    await rm(path.join(dir, 'timestamps'), { recursive: true });
    expect(await found()).to.have.length(1);
  });

  it('is found when it is of another hash: of another entry, or of a run that was signed anew', async () => {
    const stamp = path.join(dir, 'timestamps/chain-5.tsr');
    await rename(stamp, path.join(dir, 'timestamps/chain-4.tsr'));
    expect((await found())[0]).to.match(/chain-4\.tsr: is no stamp of entry 3 .*message imprint mismatch/);
    await rename(path.join(dir, 'timestamps/chain-4.tsr'), stamp);
    await writeFiles(dir, Object.fromEntries(signAnew(await readFolder(dir))));
    const findings = await found();
    expect(findings.join('\n')).to.match(/chain-5\.tsr: is no stamp of entry 4 .*message imprint mismatch/);
  });

  it('finds a chain and a custody log that were cut', async () => {
    for (const log of ['chain', 'custody']) {
      const file = path.join(dir, `${log}.jsonl`);
      const text = await readFile(file, 'utf8');
      await writeFile(file, text.slice(0, text.lastIndexOf('\n', text.length - 2) + 1));
    }
    const findings = (await found()).join('\n');
    expect(findings).to.match(/chain-5\.tsr: is of 5 entries, and chain\.jsonl has 4: it was cut/);
    expect(findings).to.match(/custody-2\.tsr: is of 2 entries, and custody\.jsonl has 1: it was cut/);
  });

  it('says nothing else when any byte of it was changed', async () => {
    const file = path.join(dir, 'timestamps/chain-5.tsr');
    const good = await readFile(file);
    const [stamp] = (await auditRun(dir, { tsa: authority.ca })).stamps;
    const random = new Random(11);
    let unnoticed = 0;
    for (let i = 0; i < 24; i++) {
      const bytes = Buffer.from(good);
      const at = random.below(bytes.length);
      bytes[at] = (bytes[at] ?? 0) ^ (1 << random.below(8));
      await writeFile(file, bytes);
      const report = await auditRun(dir, { tsa: authority.ca });
      if (report.findings.length > 0) continue;
      // What holds in spite of it says the same: such as the words beside the status.
      unnoticed++;
      expect(report.stamps[0], `byte ${at}`).to.deep.equal(stamp);
    }
    expect(unnoticed).to.be.below(4);
  });

  it('is asked for by HTTP too, and kept only if it holds', async () => {
    const answer = promisify(execFile);
    let isHonest = true;
    const server = createServer((request, response) => {
      const query = path.join(folder, 'asked');
      void (async () => {
        const chunks: Buffer[] = [];
        for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
        await writeFile(query, Buffer.concat(chunks));
        const where = path.join(folder, isHonest ? 'authority' : 'another');
        const argv = ['-c', 'exec "$0" answer "$1" <"$2"', SCRIPT, where, query];
        const { stdout } = await answer('sh', argv, { encoding: 'buffer' });
        response.end(stdout);
      })();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    try {
      await rm(path.join(dir, 'timestamps'), { recursive: true });
      const byHttp = { ...authority, where: `http://127.0.0.1:${(server.address() as AddressInfo).port}/` };
      isHonest = false;
      const error = await stampRun(dir, byHttp, signal).catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(LabError);
      expect(await readdir(path.join(dir, 'timestamps'))).to.deep.equal([]);
      isHonest = true;
      expect((await stampRun(dir, byHttp, signal)).map(({ entries }) => entries)).to.deep.equal([5, 2]);
      expect(await found()).to.deep.equal([]);
    } finally {
      server.close();
    }
  });

  it('goes with the package, and is checked there by both', async () => {
    const output = path.join(folder, 'p.tar');
    await writePackage({ dir, dataDir, output, digest: sha256Of, signal });
    const root = await mkdtemp(path.join(folder, 'unpacked-'));
    await runTool(['tar', '-xf', output, '-C', root]);
    const report = await auditPackage(root, { tsa: authority.ca });
    expect([report.findings, report.stamps.length]).to.deep.equal([[], 2]);
    const check = (ca: string) => runTool(['sh', path.join(root, 'SEAL/check.sh'), ca]);
    expect(await check(authority.ca)).to.match(/chain-5\.tsr: Time stamp: .*\n.*everything is as it was signed/);
    const error = await check(authorityOf('another').ca).catch((reason: unknown) => reason);
    expect(error)
      .to.be.instanceOf(LabError)
      .and.to.have.property('message')
      .that.matches(/is no stamp of that authority/);
  });
});
