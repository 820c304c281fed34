// SPDX-License-Identifier: MIT
/** `index` and `query` with a real PostgreSQL server that wants a password, as a user types them. */
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { createServer, type Socket } from 'node:net';
import { expect } from 'chai';
import { pollUntil } from '../../lab/util/deadline.js';
import { freePort } from '../../lab/util/free-port.js';
import { type Ended, lemona } from '../harness/command.js';
import { usePostgres } from '../harness/postgres.js';
import { useStore } from '../harness/store.js';
import { writeSegments } from '../support/run-builder.js';
import { synthesize } from '../support/trace-synth.js';

const RECORDS = 5000;
const SEGMENT_BYTES = 100_000;
const PASSWORD = `s3cret-${randomBytes(8).toString('hex')}`;
const TITLE_WAIT_MS = 60_000;
/** When Ctrl-C is pressed: what loads has its title long before. */
const FOLLOWED_MS = 3000;

/** Command lines that are in the process list now, and have this text in them. */
async function listed(text: string): Promise<string[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'latin1').catch(() => '')));
  return lines.filter((line) => line.includes(text));
}

describe('the command line with a database in PostgreSQL', () => {
  const server = usePostgres(PASSWORD);
  const folder = useStore();

  /** Of the user `lemona`, with this password in it. */
  const withPassword = (password: string): string => server().url.replace('lemona@', `lemona:${password}@`);

  /** Gives the password as it should be given. */
  function run(...words: string[]): Promise<Ended> {
    return lemona(words, folder(), { env: { PGPASSWORD: PASSWORD } });
  }

  async function demandFailure(
    status: number,
    message: RegExp,
    db: string,
    env: NodeJS.ProcessEnv = {},
  ): Promise<void> {
    for (const words of [
      ['index', './', '--db', db, '--verbose'],
      ['query', './', 'programs', '--db', db],
    ]) {
      const ended = await lemona(words, folder(), { env });
      expect(ended.stderr).to.match(message);
      expect([ended.status, ended.stdout], ended.stderr).to.deep.equal([status, '']);
      expect(ended.stderr).not.to.include('s3cret');
    }
  }

  it('loads what is not there yet, and answers views and SQL as SQLite does', async () => {
    await writeSegments(folder(), [...synthesize({ records: RECORDS })], SEGMENT_BYTES);
    const { url } = server();
    const ended = await run('index', './', '--db', url, '--json');
    expect(ended.status, ended.stderr).to.equal(0);
    const first = JSON.parse(ended.stdout) as Record<string, unknown>;
    expect(first).to.include({ db: 'PostgreSQL database postgres', traces: 1 });
    expect(first.records).to.be.at.least(RECORDS);
    const again = JSON.parse((await run('index', './', '--db', url, '--json')).stdout) as Record<string, unknown>;
    expect(again).to.include({ segments: 0, rows: 0 });
    expect((await run('index', './', '--quiet')).status).to.equal(0);
    for (const question of [
      ['programs'],
      ['SELECT what, count(*) AS n, max(time_ns) AS latest FROM event_list GROUP BY what ORDER BY what'],
    ]) {
      const answer = await run('query', './', ...question, '--db', url, '--json');
      expect([answer.status, answer.stdout.split('\n').length > 2], answer.stderr).to.deep.equal([0, true]);
      expect(answer.stdout).to.equal((await run('query', './', ...question, '--json')).stdout);
    }
    const wrong = await run('query', './', 'SELECT nothing FROM event_list', '--db', url);
    expect(wrong.status, wrong.stderr).to.equal(2);
    expect(wrong.stderr).to.match(/column "nothing" does not exist/);
  });

  it('says why it cannot connect, and nothing of a password', async () => {
    await writeSegments(folder(), [...synthesize({ records: 100 })]);
    await demandFailure(
      3,
      /LAB_ENV_MISSING: .*password authentication failed for user "lemona"/,
      withPassword('s3cret'),
    );
    await demandFailure(3, /LAB_ENV_MISSING: .*\nnext: .*PGPASSWORD/s, server().url, { PGPASSWORD: '' });
    const port = await freePort();
    await demandFailure(
      3,
      /LAB_ENV_MISSING: .*127\.0\.0\.1:\d+: .*REFUSED/,
      `postgres://lemona:s3cret@127.0.0.1:${port}/x`,
    );
    await demandFailure(2, /LAB_USAGE: --db: this is no URL/, 'postgres://lemona:s3cret#1@127.0.0.1/x');
    await demandFailure(2, /LAB_USAGE: --db mysql:/, 'mysql://lemona:s3cret@127.0.0.1/x');
  });

  it('does not wait for a server that does not answer', async () => {
    await writeSegments(folder(), [...synthesize({ records: 100 })]);
    const silent = new Set<Socket>();
    const listener = createServer((socket) => silent.add(socket.on('error', () => {})));
    const port = await freePort();
    await new Promise<void>((resolve) => listener.listen(port, '127.0.0.1', resolve));
    try {
      await demandFailure(3, /LAB_ENV_MISSING: .*timeout/, `postgres://lemona:s3cret@127.0.0.1:${port}/x`);
    } finally {
      for (const socket of silent) socket.destroy();
      listener.close();
    }
  });

  it('is in the process list without the password of its URL', async () => {
    await writeSegments(folder(), [...synthesize({ records: 100 })]);
    const words = ['index', './', '--follow', '--db', withPassword(PASSWORD)];
    const options = { interruptAt: /load into/, interruptAfterMs: FOLLOWED_MS };
    const shown = pollUntil(async () => (await listed('postgres://lemona:***@'))[0], {
      label: 'its title',
      timeoutMs: TITLE_WAIT_MS,
    });
    const [line, ended] = await Promise.all([
      shown.then(async (title) => ({ title, others: await listed(PASSWORD) })),
      lemona(words, folder(), options),
    ]);
    expect(ended.status, ended.stderr).to.equal(130);
    expect(line.others).to.deep.equal([]);
    expect(line.title).to.match(/index \.\/ --follow --db/);
  });

  it('shows a password that comes by PGPASSWORD to nobody', async () => {
    await writeSegments(folder(), [...synthesize({ records: 100 })]);
    let isOver = false;
    const ended = run('index', './', '--db', server().url).finally(() => {
      isOver = true;
    });
    let looks = 0;
    for (; !isOver; looks++) expect(await listed(PASSWORD)).to.deep.equal([]);
    expect([(await ended).status, looks > 0]).to.deep.equal([0, true]);
  });
});
