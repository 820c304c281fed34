// SPDX-License-Identifier: MIT
/** A logging server as a process of its own, which a test can kill; and the segments it took. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdir, readdir, rename } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { readManifest } from '../../lab/run/manifest.js';
import { MACHINE, type SocketReceiver, type SocketTotals } from '../../lab/run/socket-receiver.js';
import { enrollMachine, type ModeChoice, makePoint } from '../../lab/server/point.js';
import { pollUntil } from '../../lab/util/deadline.js';
import type { FaultyLink } from './faulty-link.js';

const START_MS = 120_000;
const END_MS = 600_000;

export class ServerProcess {
  readonly key = randomBytes(32);
  readonly dir: string;
  #port = 0;
  #child: ChildProcess | undefined;
  /** What it said of refusals. */
  refusals = 0;

  constructor(dir: string) {
    this.dir = dir;
  }

  get port(): number {
    return this.#port;
  }

  async enroll(mode: ModeChoice): Promise<void> {
    await enrollMachine(await makePoint(this.dir), MACHINE, this.key, mode, new Date());
  }

  /** Starts it; on the same port as before. */
  async start(): Promise<void> {
    const main = path.join(ROOT, 'lab/cli/main.ts');
    const child = spawn(
      process.execPath,
      ['--import', 'tsx', main, 'server', this.dir, '--listen', `127.0.0.1:${this.#port}`],
      { cwd: ROOT, stdio: ['ignore', 'pipe', 'inherit'] },
    );
    this.#child = child;
    let rest = '';
    child.stdout.on('data', (chunk: Buffer) => {
      const lines = (rest + chunk.toString('utf8')).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) {
        const { event, port } = JSON.parse(line) as { event: string; port?: number };
        if (event === 'listening') this.#port = port ?? 0;
        if (event === 'listening') child.emit('ready');
        if (event === 'refused') this.refusals++;
      }
    });
    const timer = setTimeout(() => child.kill('SIGKILL'), START_MS);
    await Promise.race([
      once(child, 'ready'),
      once(child, 'exit').then(() => Promise.reject(new Error('the server did not start'))),
    ]);
    clearTimeout(timer);
  }

  /** Ends it, at once or in order. */
  async stop(signal: 'SIGKILL' | 'SIGINT'): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill(signal);
    await ended;
  }

  /** The folder of the one boot that it took. */
  async runDir(): Promise<string | undefined> {
    const runs = path.join(this.dir, 'runs');
    const [name] = await readdir(runs).catch(() => []);
    return name === undefined ? undefined : path.join(runs, name);
  }
}

/** As the receiver of a run; its segments are moved into the run's folder in the end. */
export function receiverOf(server: ServerProcess, link: FaultyLink, folder: string): SocketReceiver {
  let totals: SocketTotals = { segments: 0, bytes: 0, subbufs: 0 };
  let isClosed = false;
  const readRun = async () => {
    const dir = await server.runDir();
    return dir === undefined ? undefined : readManifest(path.join(dir, 'run.json'));
  };
  const hasEnded = async () => (isClosed || (await readRun())?.state === 'complete' ? true : undefined);
  let ended: Promise<void> | undefined;
  return {
    port: link.port,
    key: server.key,
    get ended() {
      ended ??= pollUntil(hasEnded, {
        label: "the record's end at the server",
        timeoutMs: END_MS,
        intervalMs: 200,
      }).then(() => {});
      return ended;
    },
    hasEnded: true,
    get receivedBytes() {
      return link.bytes;
    },
    get totals() {
      return totals;
    },
    async close() {
      if (isClosed) return;
      isClosed = true;
      await server.stop('SIGINT');
      const dir = await server.runDir();
      const manifest = await readRun();
      if (dir === undefined || manifest === undefined) return;
      const { segments, bytes, subbufs } = manifest.trace;
      totals = { segments, bytes, subbufs };
      await mkdir(folder, { recursive: true });
      const from = path.join(dir, 'segments');
      for (const name of await readdir(from)) await rename(path.join(from, name), path.join(folder, name));
    },
  };
}
