// SPDX-License-Identifier: MIT
/** A second server as a witness: what it has of this lab's heads, however the sending goes, and what an audit makes of it. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { appendFile, cp, mkdir, mkdtemp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { headLines } from '../../lab/audit/kept-heads.js';
import { bootDir, enrollMachine, makePoint, pointFolderAt, readKeyFile } from '../../lab/server/point.js';
import { type Acknowledged, type WitnessOptions, witnessHeads } from '../../lab/server/witness.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { LabError } from '../../lab/util/errors.js';
import { freePort } from '../../lab/util/free-port.js';
import { silentLog } from '../../lab/util/log.js';
import { LEMONA, lemona } from '../harness/command.js';
import { FaultyLink } from '../harness/faulty-link.js';
import { sh } from '../harness/sh.js';
import { makeSealedRun, type SealedRunShape } from '../support/sealed-run.js';
import { ServerProcess } from '../support/server-process.js';
import { nop, subbuf } from '../support/trace-builder.js';

const SHAPE: SealedRunShape = {
  subbufs: [0n, 1n, 2n].map((number) => subbuf([nop(number + 1n)], { number })),
  limitBytes: 1,
  files: { 'run.json': '{}\n' },
  acts: 1,
};

interface State {
  readonly bytes: number;
  readonly lines: number;
  readonly boot: { readonly id: string; readonly isEnding: boolean } | null;
}

describe('a second server as a witness', function () {
  // Servers and commands are processes: slow where many do that at once.
  this.timeout(180_000);
  let folder: string;
  let server: ServerProcess;
  let key: Buffer;
  /** This lab's, and another one for each test. */
  let home: string;
  let dataDir: string;
  let heads: string;
  let run: string;
  let machine: string;
  let tests = 0;
  const followers: AbortController[] = [];

  before(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
    const machines = Array.from({ length: 20 }, (_, i) => `lab${i}`);
    key = await ServerProcess.enroll(path.join(folder, 'point'), machines, 'noise');
    await writeFile(path.join(folder, 'key'), `${key.toString('hex')}\n`, { mode: 0o600 });
    server = new ServerProcess(path.join(folder, 'point'), await freePort());
    await server.start();
  });

  after(async () => {
    await server.stop();
    await rm(folder, { recursive: true });
  });

  beforeEach(async () => {
    machine = `lab${tests++}`;
    home = path.join(folder, machine);
    dataDir = path.join(home, 'lemona-lab');
    heads = path.join(dataDir, 'heads.jsonl');
    run = path.join(home, 'run');
    await mkdir(dataDir, { recursive: true });
  });

  afterEach(() => {
    for (const follower of followers.splice(0)) follower.abort();
  });

  const kept = () => path.join(server.dir, 'machines', machine);
  const boots = () => readdir(path.join(kept(), 'boots'));
  /** The server closes a chain when the sender has left. */
  const whole = () =>
    pollUntil(
      async () => {
        const files = await readdir(kept(), { recursive: true });
        return files.some((file) => file.endsWith('chain.lock')) ? undefined : true;
      },
      { label: 'the chains to be closed', timeoutMs: 60_000 },
    );
  const auditOfBoot = async () =>
    auditRun(bootDir(pointFolderAt(server.dir), { machine, bootId: BigInt(`0x${(await boots())[0]}`) }));

  const optionsOf = (more: Partial<WitnessOptions> = {}): WitnessOptions => ({
    ...{ host: '127.0.0.1', port: server.port, machine, key, dataDir, log: silentLog },
    ...{ isFollowing: false, signal: new AbortController().signal, onAcknowledged: async () => {} },
    ...more,
  });
  const send = (more?: Partial<WitnessOptions>) => witnessHeads(optionsOf(more));

  /** Goes on until it is ended; that rejects as it does. */
  const follow = (more: Partial<WitnessOptions> = {}) => {
    const stop = new AbortController();
    followers.push(stop);
    let acknowledged = 0;
    const onAcknowledged = async (news: Acknowledged) => {
      acknowledged += news.heads;
    };
    const over = send({ isFollowing: true, signal: stop.signal, onAcknowledged, ...more });
    over.catch(() => {});
    const reaches = (lines: number) =>
      pollUntil(() => (acknowledged >= lines ? true : undefined), {
        ...{ label: `${lines} heads to be acknowledged`, timeoutMs: 30_000, lastSeen: () => `${acknowledged}` },
      });
    return {
      reaches,
      end: async () => {
        stop.abort();
        await over;
        return acknowledged;
      },
    };
  };

  const linesOf = async (file: string) => (await readFile(file, 'utf8')).split('\n').slice(0, -1);
  const linesKept = async () => {
    const lines: string[] = [];
    for await (const line of headLines(kept())) lines.push(line);
    return lines;
  };
  const stateFile = (port = server.port) => path.join(dataDir, `heads-sent/127.0.0.1:${port}-${machine}.json`);
  const state = async () => JSON.parse(await readFile(stateFile(), 'utf8')) as State;
  const found = async (...of: string[]) =>
    (await auditRun(run, { heads: of })).findings.map(({ file, at, what }) =>
      [file, at, what].filter(Boolean).join(': '),
    );
  const codeOf = async (work: Promise<unknown>) => {
    const error = await work.catch((reason: unknown) => reason);
    return error instanceof LabError ? [error.code, error.message, error.next] : error;
  };
  const command = (...more: string[]) => {
    const env = { XDG_DATA_HOME: home };
    return lemona(more, home, { env });
  };
  const args = () => [
    ...['witness', `127.0.0.1:${server.port}`, '--machine', machine],
    ...['--key-file', path.join(folder, 'key')],
  ];

  it('has all heads once, in a chain that it closes; and an audit sees by them that a run is untouched', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    const all = await linesOf(heads);
    const sent = await command(...args());
    expect([sent.status, sent.stderr]).to.deep.equal([0, '']);
    expect(sent.stdout).to.match(new RegExp(`: ${all.length} heads acknowledged, ${all.length} in all \\(boot 1`));
    await send();
    expect(await boots()).to.have.length(1);
    expect(await linesKept()).to.deep.equal(all);
    await whole();
    const { findings, isClosed, files, lab } = await auditOfBoot();
    expect([findings, isClosed, files]).to.deep.equal([[], true, 2]);
    expect(await state()).to.deep.include({ lines: all.length, boot: null });

    await makeSealedRun(`${run}2`, dataDir, SHAPE);
    await send();
    expect(await boots()).to.have.length(2);
    expect(await linesKept()).to.deep.equal(await linesOf(heads));

    await whole();
    await cp(kept(), `${home}/copy`, { recursive: true });
    const audited = await command('audit', `${run}2`, '--head', `${home}/copy`);
    expect(audited.stdout).to.match(/a witness outside of the run saw 5 of 5 entries as they are/);
    expect(audited.stdout).to.match(/copy: 2 boots, kept by lab [0-9a-f]{64}\n/);
    expect([audited.status, (await auditRun(run)).lab === lab]).to.deep.equal([0, false]);
  });

  it('contradicts a run that was made anew and signed by the same key, and one whose end was cut', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    await send();
    await whole();
    const { id, findings: none } = await auditRun(run, { heads: [kept()] });
    expect(none).to.deep.equal([]);
    const chain = path.join(run, 'chain.jsonl');
    const bytes = await readFile(chain);
    await truncate(chain, bytes.lastIndexOf('\n', bytes.length - 2) + 1);
    expect(await found(kept())).to.include(
      `chain.jsonl: entry 4: was cut: the witness ${kept()} saw 5 entries, 4 are there`,
    );

    await rm(run, { recursive: true });
    const thief = path.join(home, 'thief');
    await mkdir(thief);
    for (const name of ['lab-key.pem', 'lab-key.pub.pem']) await cp(path.join(dataDir, name), path.join(thief, name));
    await makeSealedRun(run, thief, { ...SHAPE, files: { 'run.json': '{"false":true}\n' } });
    expect(await found()).to.deep.equal([]);
    expect((await found(kept()))[0]).to.match(/machines\/lab\d+: saw another run begin in this folder: [0-9a-f]{32}$/);

    // Witnessed too, it is a run that took the place of another: that is said.
    await appendFile(heads, await readFile(path.join(thief, 'heads.jsonl')));
    await send();
    await whole();
    const { findings, earlier } = await auditRun(run, { heads: [kept()] });
    expect([findings, earlier]).to.deep.equal([[], [id]]);
  });

  it('says so if what the witness keeps was changed, or is not signed yet', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    const follower = follow();
    await follower.reaches(7);
    const open = await auditRun(run, { heads: [kept()] });
    expect([open.findings, open.witnessed]).to.deep.equal([[], 5]);
    expect(open.unsigned.map(({ file }) => path.relative(kept(), file))).to.deep.equal([
      `boots/${(await boots())[0]}/segments/000000.seg`,
    ]);
    await follower.end();
    await whole();
    expect((await auditRun(run, { heads: [kept()] })).unsigned).to.deep.equal([]);
    const segment = path.join(kept(), 'boots', (await boots())[0] ?? '', 'segments/000000.seg');
    const bytes = await readFile(segment);
    bytes[200] = (bytes[200] ?? 0) ^ 1;
    await writeFile(segment, bytes);
    const [own] = (await found(kept())).filter((line) => line.startsWith(segment));
    expect(own).to.match(/: offset 64: the witness itself: was changed: sha256x16/);
  });

  it('loses and doubles nothing while it is killed, started again and cut off, and all is one record', async () => {
    const link = await FaultyLink.listen(() => server.port);
    const follower = follow({ port: link.port });
    await makeSealedRun(run, dataDir, SHAPE);
    await follower.reaches(7);
    await server.kill();
    await makeSealedRun(`${run}2`, dataDir, SHAPE);
    await server.start();
    await follower.reaches(14);
    for (let i = 3; i < 8; i++) {
      link.cut();
      await makeSealedRun(`${run}${i}`, dataDir, SHAPE);
      if (i === 5) await server.kill();
      if (i === 6) await server.start();
    }
    const all = await linesOf(heads);
    await follower.reaches(all.length);
    expect(await follower.end()).to.equal(all.length);
    expect(await linesKept()).to.deep.equal(all);
    expect(await boots()).to.have.length(1);
    await whole();
    const { findings, isClosed, resumed } = await auditOfBoot();
    expect([findings, isClosed, resumed.length]).to.deep.equal([[], true, 2]);
    expect(await found(kept())).to.deep.equal([]);
    await link.close();
  });

  it('goes on with the record of a sender that was killed, wherever it stood', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    const child = spawn(LEMONA, [...args(), '--follow'], {
      env: { ...process.env, XDG_DATA_HOME: home },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const [line] = (await once(child.stdout, 'data')) as [Buffer];
    expect(line.toString()).to.match(/7 heads acknowledged/);
    expect(await codeOf(send())).to.satisfy((error: string[]) => error[0] === 'LAB_RUN_STATE');
    const closed = once(child, 'close');
    child.kill('SIGKILL');
    await closed;
    // As if it had not come to note the acknowledgement.
    const old = await state();
    await writeFile(stateFile(), JSON.stringify({ ...old, bytes: 0, lines: 0 }));
    await makeSealedRun(`${run}2`, dataDir, SHAPE);
    const again: Acknowledged[] = [];
    await send({ onAcknowledged: async (news) => void again.push(news) });
    expect(again.map((news) => [news.heads, news.lines])).to.deep.equal([
      [7, 7],
      [7, 14],
    ]);
    // Nor that the record was ended.
    await whole();
    const boot = { id: old.boot?.id, bytes: 0, lines: 0, isEnding: true };
    await writeFile(stateFile(), JSON.stringify({ ...(await state()), boot }));
    await send();
    expect(await linesKept()).to.deep.equal(await linesOf(heads));
    expect(await boots()).to.have.length(1);
    expect(await state()).to.deep.include({ lines: 14, boot: null });
    await whole();
    expect((await auditOfBoot()).isClosed).to.equal(true);
  });

  it('ends its record in order at Ctrl-C', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    const options = { env: { XDG_DATA_HOME: home }, interruptAt: /acknowledged/ };
    const { status, stdout } = await lemona([...args(), '--follow', '--json'], home, options);
    expect(status).to.equal(0);
    expect(JSON.parse(stdout)).to.include({ type: 'acknowledged', heads: 7, machine });
    expect(await state()).to.deep.include({ lines: 7, boot: null });
    await whole();
    expect((await auditOfBoot()).isClosed).to.equal(true);
  });

  it('gets records that end now and then, in the order of their names, where heads keep coming', async () => {
    const follower = follow({ recordMs: 1 });
    for (let i = 0; i < 3; i++) {
      await appendFile(heads, `{"i":${i}}\n`);
      await follower.reaches(i + 1);
      await pollUntil(async () => ((await boots()).length > i + 1 ? true : undefined), {
        ...{ label: 'the next record', timeoutMs: 20_000 },
      });
    }
    await follower.end();
    expect(await linesKept()).to.deep.equal(['{"i":0}', '{"i":1}', '{"i":2}']);
  });

  it('gets whole lines only, many of them too, and by hand they come out as they were', async () => {
    const line = (i: number) => `{"time":"T","i":${i},"folder":"/é {head} ${'x'.repeat(i % 300)}"}\n`;
    const lines = Array.from({ length: 5000 }, (_, i) => line(i)).join('');
    await writeFile(heads, `${lines}{"time":`);
    await send();
    expect(await state()).to.deep.include({ bytes: Buffer.byteLength(lines), lines: 5000 });
    await appendFile(heads, '"half"}\n');
    await send();
    const script = `cat "$1"/boots/*/segments/*.seg | LC_ALL=C sed -n 's/^.*head={"time"/{"time"/p' > "$2"`;
    const copy = path.join(home, 'copy');
    await sh`sh -c ${script} sh ${kept()} ${copy}`;
    expect((await readFile(copy)).equals(await readFile(heads))).to.equal(true);
  });

  it('is told apart from other servers: each has a state of its own, and one made anew gets all', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    await send();
    const other = new ServerProcess(path.join(home, 'point'), await freePort());
    await enrollMachine(await makePoint(other.dir), machine, key, 'noise', new Date());
    await other.start();
    await send({ port: other.port });
    expect((await readdir(path.dirname(stateFile()))).sort()).to.deep.equal(
      [stateFile(), stateFile(other.port)].map((file) => path.basename(file)).sort(),
    );
    await cp(stateFile(), stateFile(other.port));
    await makeSealedRun(`${run}2`, dataDir, SHAPE);
    await send({ port: other.port });
    await other.stop();
    const lines: string[] = [];
    for await (const text of headLines(other.dir)) lines.push(text);
    const all = await linesOf(heads);
    expect(lines).to.deep.equal([...all.slice(0, 7), ...all]);
    expect(await linesKept()).to.deep.equal(all.slice(0, 7));
  });

  it('is not sent what is no longer what it was: heads that were cut are named', async () => {
    await makeSealedRun(run, dataDir, SHAPE);
    await send();
    const bytes = await readFile(heads);
    for (const cut of [bytes.length - 1, 10, 0]) {
      await writeFile(heads, bytes.subarray(0, cut));
      expect((await codeOf(send())) as string[], `${cut}`).to.include('LAB_RUN_CORRUPT');
    }
  });

  it('says what is wrong: a wrong key, a machine that nobody enrolled, a server that is not there', async () => {
    await writeFile(heads, '{"i":0}\n');
    await writeFile(path.join(folder, 'wrong'), `${randomBytes(32).toString('hex')}\n`, { mode: 0o600 });
    const wrong = await command(...args().slice(0, -1), path.join(folder, 'wrong'));
    expect([wrong.status, wrong.stdout]).to.deep.equal([3, '']);
    expect(wrong.stderr).to.match(
      /^lemona: LAB_LINK_REFUSED: the server at 127\.0\.0\.1:\d+ refused: BAD_KEY: .*\nnext: /,
    );
    const [code, message, next] = (await codeOf(send({ machine: 'stranger' }))) as string[];
    expect([code, next?.includes('enroll')]).to.deep.equal(['LAB_LINK_REFUSED', true]);
    expect(message).to.match(/UNKNOWN_MACHINE/);
    const port = await freePort();
    const gone = (await codeOf(send({ port }))) as string[];
    expect(gone.slice(0, 2)).to.deep.equal(['LAB_LINK_NO_CONNECT', `connecting to 127.0.0.1:${port}: ECONNREFUSED`]);
    // No use in trying again, either.
    const options = { isFollowing: true, key: randomBytes(32) };
    expect(((await codeOf(send(options))) as string[])[1]).to.match(/BAD_KEY/);
    const follower = follow({ port });
    expect((await codeOf(follower.end())) as string[]).to.include('LAB_ABORTED');
    expect(await codeOf(readKeyFile(path.join(home, 'none')))).to.satisfy(
      (error: string[]) => error[0] === 'LAB_ENV_IO',
    );
    expect(await readdir(home)).to.not.include('none');
  });
});
