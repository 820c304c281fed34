// SPDX-License-Identifier: MIT
/** A PostgreSQL server of its own for a test: in a folder, behind a socket, as a user that is not root. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Child } from '../../lab/proc/child.js';
import { pollUntil } from '../../lab/util/deadline.js';
import { sh } from './sh.js';
import { skip } from './skip.js';

const PROGRAMS = '/usr/lib/postgresql';
/** Debian's package makes this user; a server refuses to run as root. */
const USER = 'postgres';

export interface PostgresServer {
  /** Without a password. */
  readonly url: string;
}

/** The folder of the server's programs, newest version; undefined: Debian's package is not installed. */
async function programs(): Promise<string | undefined> {
  const versions = await readdir(PROGRAMS).catch(() => []);
  const newest = versions.sort((a, b) => Number(a) - Number(b)).at(-1);
  return newest === undefined ? undefined : path.join(PROGRAMS, newest, 'bin');
}

/** Runs a server while the tests of the surrounding `describe` run. With a password it lets nobody in without. */
export function usePostgres(password?: string): () => PostgresServer {
  let server: PostgresServer | undefined;
  let child: Child | undefined;
  let folder: string | undefined;
  before(async function () {
    const bin = await programs();
    if (bin === undefined) skip(this, 'the package postgresql is not installed');
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-postgres-'));
    const isRoot = process.getuid?.() === 0;
    const as = isRoot ? (['setpriv', `--reuid=${USER}`, `--regid=${USER}`, '--init-groups', '--'] as const) : [];
    const data = path.join(folder, 'data');
    await mkdir(data, { mode: 0o700 });
    const secret = path.join(folder, 'password');
    await writeFile(secret, `${password ?? ''}\n`, { mode: 0o600 });
    if (isRoot) {
      await sh`chown ${USER}: ${folder} ${data} ${secret}`;
    }
    const auth = password === undefined ? ['-A', 'trust'] : ['-A', 'scram-sha-256', '--pwfile', secret];
    const argv = (program: string, ...args: string[]): [string, ...string[]] =>
      [...as, path.join(bin, program), ...args] as [string, ...string[]];
    await sh`${argv('initdb')} -D ${data} -U lemona ${auth} -E UTF8 --no-locale --no-sync`;
    child = await Child.spawn({
      label: 'PostgreSQL',
      argv: argv('postgres', '-D', data, '-k', folder, '-c', 'listen_addresses=', '-c', 'fsync=off'),
      stdout: 'tail',
      dieWithParent: true,
    });
    const running = child;
    await pollUntil(
      () => {
        if (running.exit !== undefined) throw new Error(`PostgreSQL ended: ${running.outputTail()}`);
        return running.outputTail().includes('ready to accept connections') ? true : undefined;
      },
      { label: 'PostgreSQL', timeoutMs: 60_000, intervalMs: 50, lastSeen: () => running.outputTail() },
    );
    server = { url: `postgres://lemona@/postgres?host=${encodeURIComponent(folder)}` };
  });
  after(async () => {
    await child?.stop({ graceMs: 10_000 });
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });
  return () => {
    if (server === undefined) throw new Error('the server is there only within a test');
    return server;
  };
}
