// SPDX-License-Identifier: MIT
import { readFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { parseListen } from '../../lab/cli/verbs/server.js';
import { keyFromPassphrase } from '../../lab/link/machine-key.js';
import { MODE } from '../../lab/link/wire.js';
import { openRun } from '../../lab/run/folder.js';
import { ServerLog } from '../../lab/server/log.js';
import {
  bootDir,
  enrollMachine,
  findMachine,
  keyOfFile,
  listBoots,
  listMachines,
  makePoint,
  openPoint,
} from '../../lab/server/point.js';
import { serve } from '../../lab/server/serve.js';
import { askStatus } from '../../lab/server/status.js';
import { CATEGORIES, joinParts, partOf } from '../../lab/trace/parts.js';
import { segmentsFolder } from '../../lab/trace/run-index.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { statsOf } from '../../lab/trace/stats.js';
import { LabError } from '../../lab/util/errors.js';
import { freePort } from '../../lab/util/free-port.js';
import { callVerb } from '../harness/verb.js';
import { ServerProcess } from '../support/server-process.js';
import { SimConnection, SimDriver } from '../support/sim-driver.js';
import { entry, nop, start, subbuf } from '../support/trace-builder.js';
import { testIntake } from '../support/wire-point.js';

const NOW = new Date('2026-01-31T12:00:00Z');

async function codeOf(work: () => Promise<unknown> | unknown): Promise<unknown> {
  try {
    await work();
    return undefined;
  } catch (error) {
    return error instanceof LabError ? error.code : error;
  }
}

describe('a storage point', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'lemona-test-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('knows who is enrolled, keeps keys where only its owner reads them, and its identity for good', async () => {
    const dir = join(folder, 'point');
    const point = await makePoint(dir);
    const key = Buffer.alloc(32, 7);
    await enrollMachine(point, 'web1', key, 'noise', NOW);
    expect(await findMachine(point, 'web1')).to.deep.equal({ key, modes: [MODE.NOISE] });
    expect(await findMachine(point, 'web2')).to.equal(undefined);
    expect(await listMachines(point)).to.deep.equal(['web1']);
    const { mode } = await stat(join(point.machinesDir, 'web1', 'machine.json'));
    expect((mode & 0o777).toString(8)).to.equal('600');
    expect((await makePoint(dir)).server).to.equal(point.server);
    expect(await codeOf(() => enrollMachine(point, '../x', key, 'noise', NOW))).to.equal('LAB_USAGE');
    expect(await codeOf(() => openPoint(folder))).to.equal('LAB_RUN_UNKNOWN');
  });

  it('makes a key file that is not there, reads it again, and refuses one that others can read', async () => {
    const file = join(folder, 'key');
    const made = await keyOfFile(file);
    expect(made.isNew).to.equal(true);
    expect((await readFile(file, 'latin1')).trim()).to.equal(made.key.toString('hex'));
    expect(await keyOfFile(file)).to.deep.equal({ key: made.key, isNew: false });
    await chmod(file, 0o640);
    expect(await codeOf(() => keyOfFile(file))).to.equal('LAB_ENV_PERMISSION');
  });

  it('makes a key of a passphrase as docs/wire.md says', async () => {
    // From another implementation: Python's hashlib.scrypt with the same parameters.
    const key = await keyFromPassphrase('web1', 'correct horse battery staple');
    expect(key.toString('hex')).to.equal('861f95e2e0c3d53f6bb992e2d1a405fe8aaec395264c1ce42bd73c7f12b4b1ba');
  });

  it('serves a machine into a run folder that the other verbs read, and tells of it', async () => {
    const dir = join(folder, 'point');
    const point = await makePoint(dir);
    const key = Buffer.alloc(32, 9);
    await enrollMachine(point, 'web1', key, 'any', NOW);
    const stop = new AbortController();
    const lines: Record<string, unknown>[] = [];
    let listening: (port: number) => void = () => {};
    const port = new Promise<number>((resolve) => {
      listening = resolve;
    });
    const write = (text: string) => {
      const line = JSON.parse(text) as Record<string, unknown>;
      lines.push(line);
      if (line.event === 'listening') listening(Number(line.port));
    };
    const serving = {
      dir,
      mayMake: false,
      dataDir: join(folder, 'data'),
      host: '127.0.0.1',
      port: 0,
      intake: await testIntake(),
      signal: stop.signal,
      write,
      now: () => new Date(),
    };
    const served = serve(serving);
    const options = { machine: 'web1', key, mode: MODE.PLAIN, bootId: 0xabcn, cpus: 2 };
    const driver = new SimDriver({ port: await port, ...options });
    driver.put(0, 0n, subbuf([start(1n), nop(2n)], { bootId: 0xabcn }));
    // A machine that loses records, and leaves.
    const lossy = new SimDriver({ port: await port, ...options, bootId: 0xbadn });
    lossy.put(0, 0n, subbuf([start(1n)], { bootId: 0xbadn, issued: 6n, dropped: 5n }));
    await lossy.deliver();
    driver.put(1, 0n, subbuf([nop(3n)], { cpu: 1, bootId: 0xabcn }));
    // The parts of another boot, both of them: numbers are the same in both, and neither takes the place of the other.
    const whole = subbuf([start(1n), entry(41, [], [], { flags: FLAG.F_SOCKET }), nop(2n)], { bootId: 0x123n });
    for (const [number, category] of CATEGORIES) {
      const part = new SimDriver({ ...driver.options, bootId: 0x123n, category: number });
      part.put(0, 0n, partOf(whole, category));
      await part.deliver();
      await part.end();
    }
    const silent = await SimConnection.open({ ...driver.options, bootId: 0xdefn });
    const seen = await askStatus(point);
    silent.socket.destroy();
    await driver.deliver();
    const another = serve(serving);
    expect(await codeOf(() => another)).to.equal('LAB_RUN_STATE');
    expect(await driver.end()).to.equal(true);
    // At this instant: a machine that hears CLOSED may be switched off.
    const chain = readFileSync(join(bootDir(point, { machine: 'web1', bootId: 0xabcn }), 'chain.jsonl'), 'utf8');
    stop.abort();
    await served;
    expect(chain.trimEnd().split('\n').at(-1)).to.include('"kind":"close"');
    expect(seen?.server).to.equal(point.server);
    expect(seen?.senders.map(({ machine, boot, queued }) => [machine, boot, queued])).to.deep.equal([
      ['web1', '0000000000000def', null],
    ]);
    expect(await askStatus(point)).to.equal(undefined);
    expect(await readdir(dir)).not.to.include('status.sock');
    const boots = await listBoots(point, 'web1');
    expect(boots.find(({ boot }) => boot.endsWith('bad'))).to.include({ state: 'recording', dropped: '5' });
    expect(boots.find(({ boot }) => boot.endsWith('abc'))).to.include({ state: 'complete', dropped: '0' });
    const run = await openRun(bootDir(point, { machine: 'web1', bootId: 0xabcn }));
    expect(run.manifest).to.deep.include({ name: '0000000000000abc', state: 'complete', image: null });
    expect(run.manifest.trace).to.include({ segments: 1, subbufs: 2 });
    const { account } = await statsOf(run.dir);
    expect([account.isComplete, account.recorded]).to.deep.equal([true, 3n]);
    const parts: Buffer[] = [];
    for (const category of CATEGORIES.values()) {
      const part = await openRun(bootDir(point, { machine: 'web1', bootId: 0x123n, category }));
      expect(part.manifest).to.deep.include({ name: `0000000000000123-${category}`, state: 'complete' });
      for await (const item of readSegments(segmentsFolder(part.dir)))
        if (item.type === 'subbuf') parts.push(Buffer.from(item.bytes));
    }
    expect(joinParts(parts[0] ?? whole, parts[1] ?? whole)).to.deep.equal(whole);
    const events = lines.map((line) => line.event);
    for (const event of ['listening', 'connected', 'closed', 'sealed', 'stopping']) expect(events).to.include(event);
  });

  it('gives a machine another key only when that is meant', async () => {
    const point = await makePoint(join(folder, 'point'));
    const [key, other] = [Buffer.alloc(32, 7), Buffer.alloc(32, 8)];
    await enrollMachine(point, 'web1', key, 'noise', NOW);
    await enrollMachine(point, 'web1', key, 'noise', NOW);
    const error: unknown = await enrollMachine(point, 'web1', other, 'noise', NOW).catch((e: unknown) => e);
    expect(String(error)).to.match(/'web1' is enrolled in .* with another key, for mode noise, since 2026-01-31/);
    expect(await codeOf(() => enrollMachine(point, 'web1', key, 'plain', NOW))).to.equal('LAB_RUN_STATE');
    expect(await findMachine(point, 'web1')).to.deep.equal({ key, modes: [MODE.NOISE] });
    await enrollMachine(point, 'web1', other, 'any', NOW, true);
    expect((await findMachine(point, 'web1'))?.key).to.deep.equal(other);
  });

  it('is not made where one can not listen', async () => {
    const dir = join(folder, 'mistyped');
    const error = await codeOf(async () =>
      serve({
        ...{
          dir,
          mayMake: true,
          dataDir: join(folder, 'data'),
          host: '192.0.2.1',
          port: 4270,
          intake: await testIntake(),
        },
        ...{ signal: AbortSignal.timeout(5000), write: () => {}, now: () => NOW },
      }),
    );
    expect([error, await readdir(folder)]).to.deep.equal(['LAB_USAGE', []]);
  });

  it('is made only where that was asked for, and where nothing else lies', async () => {
    const started = async (dir: string, mayMake: boolean) => {
      const stop = new AbortController();
      const events: unknown[] = [];
      const write = (text: string) => {
        events.push((JSON.parse(text) as { event: string }).event);
        if (events.includes('listening')) stop.abort();
      };
      const code = await codeOf(async () =>
        serve({
          ...{ dir: join(folder, dir), mayMake, dataDir: join(folder, 'data'), host: '127.0.0.1', port: 0 },
          ...{ intake: await testIntake(), signal: stop.signal, write, now: () => NOW },
        }),
      );
      return code ?? events;
    };
    expect([await started('mistyped', false), await readdir(folder)]).to.deep.equal(['LAB_RUN_UNKNOWN', []]);
    const events = ['listening', 'stopping'];
    expect(await started('point', true)).to.deep.equal(['made', ...events]);
    expect(await started('point', true)).to.deep.equal(events);
    expect(await started('point', false)).to.deep.equal(events);
    // A fresh file system is empty; a storage point that has lost its identity does not get another one.
    await mkdir(join(folder, 'disk/lost+found'), { recursive: true });
    expect(await started('disk', true)).to.deep.equal(['made', ...events]);
    await rm(join(folder, 'disk/server.json'));
    expect([await started('disk', true), (await readdir(join(folder, 'disk'))).sort()]).to.deep.equal([
      'LAB_RUN_STATE',
      ['lost+found', 'machines'],
    ]);
  });

  it('leaves no key file of an enrolment that was refused, and none but its own is removed', async () => {
    const [dir, made, own] = ['point', 'made.key', 'own.key'].map((name) => join(folder, name)) as [
      string,
      string,
      string,
    ];
    const enroll = (file: string, ...flags: string[]) =>
      codeOf(() => callVerb('enroll', dir, 'web1', '--key-file', file, '--quiet', ...flags));
    await keyOfFile(own);
    await mkdir(join(folder, 'full/of'), { recursive: true });
    const elsewhere = await codeOf(() =>
      callVerb('enroll', join(folder, 'full'), 'web1', '--key-file', made, '--quiet'),
    );
    expect([elsewhere, await readdir(folder)]).to.deep.equal(['LAB_RUN_STATE', ['full', 'own.key']]);
    const first = join(folder, 'first.key');
    expect(await enroll(first)).to.equal(undefined);
    expect(await enroll(made)).to.equal('LAB_RUN_STATE');
    expect(await enroll(own)).to.equal('LAB_RUN_STATE');
    expect((await readdir(folder)).sort()).to.deep.equal(['first.key', 'full', 'own.key', 'point']);
    expect(await enroll(made, '--replace')).to.equal(undefined);
    expect((await readdir(folder)).sort()).to.deep.equal(['first.key', 'full', 'made.key', 'own.key', 'point']);
  });

  it('leaves lines of strangers out of its log when there are too many, and says how many', () => {
    const lines: string[] = [];
    let at = NOW;
    const log = new ServerLog(
      (line) => lines.push(line),
      () => at,
    );
    for (let i = 0; i < 1000; i++) log.stranger({ event: 'refused' });
    expect(lines).to.have.length(20);
    at = new Date(NOW.getTime() + 1000);
    log.stranger({ event: 'refused' });
    expect(lines).to.have.length(22);
    expect(JSON.parse(lines[20] ?? '')).to.include({ event: 'left out', lines: 980 });
  });

  it('is served by the launcher without the loader of TypeScript', async function () {
    // It compiles, and the machine may be busy.
    this.timeout(60_000);
    const dir = join(folder, 'point');
    await ServerProcess.enroll(dir, ['web1'], 'noise');
    const server = new ServerProcess(dir, await freePort());
    try {
      await server.start();
      expect((await askStatus(await openPoint(dir)))?.rssBytes).to.be.below(80e6);
    } finally {
      await server.stop();
    }
  });

  it('listens where it is told', () => {
    expect(parseListen('10.0.0.1:4270')).to.deep.equal({ host: '10.0.0.1', port: 4270 });
    expect(parseListen('[::1]:1')).to.deep.equal({ host: '::1', port: 1 });
    expect(parseListen(':0')).to.deep.equal({ host: '::', port: 0 });
    for (const text of ['4270', 'a:b', '[x]:1', 'h:70000', '::1:1']) expect(() => parseListen(text), text).to.throw();
  });
});
