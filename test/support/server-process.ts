// SPDX-License-Identifier: MIT
/** `./lemona server` as a process of its own, on a port that stays when it is killed and started again. */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { enrollMachine, type ModeChoice, makePoint } from '../../lab/server/point.js';

const LEMONA = join(import.meta.dirname, '../../lemona');

export class ServerProcess {
  readonly dir: string;
  readonly port: number;
  /** Lines of the log of all its lives. */
  readonly log: Record<string, unknown>[] = [];
  #child: ChildProcess | undefined;

  constructor(dir: string, port: number) {
    this.dir = dir;
    this.port = port;
  }

  static async enroll(dir: string, machines: readonly string[], mode: ModeChoice): Promise<Buffer> {
    const key = randomBytes(32);
    const point = await makePoint(dir);
    for (const machine of machines) await enrollMachine(point, machine, key, mode, new Date());
    return key;
  }

  get pid(): number {
    return this.#child?.pid ?? 0;
  }

  /** Resolves when it listens. */
  async start(): Promise<void> {
    const child = spawn(LEMONA, ['server', this.dir, '--listen', `127.0.0.1:${this.port}`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    this.#child = child;
    let rest = '';
    await new Promise<void>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the server ended with status ${code} before it listened`)));
      child.stdout.on('data', (chunk: Buffer) => {
        const lines = (rest + chunk.toString('utf8')).split('\n');
        rest = lines.pop() ?? '';
        for (const line of lines) {
          const parsed = JSON.parse(line) as Record<string, unknown>;
          this.log.push(parsed);
          if (parsed.event === 'listening') resolve();
        }
      });
    });
  }

  async kill(): Promise<void> {
    await this.#signal('SIGKILL');
  }

  /** In order: all that is open is sealed. */
  async stop(): Promise<void> {
    await this.#signal('SIGINT');
  }

  async #signal(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const closed = once(child, 'close');
    child.kill(signal);
    await closed;
  }

  /** Resident memory in bytes, of the server and its intakes; what these map of the same files counts once. */
  async memory(): Promise<number> {
    const children = await readFile(`/proc/${this.pid}/task/${this.pid}/children`, 'utf8');
    const intakes = await Promise.all(children.split(' ').filter(Boolean).map(statusOf));
    const anonymous = intakes.reduce((sum, of) => sum + of('RssAnon'), 0);
    return (await statusOf(this.pid))('VmRSS') + anonymous + Math.max(0, ...intakes.map((of) => of('RssFile')));
  }
}

/** Sizes of a process by their names, in bytes; 0 of one that is gone. */
async function statusOf(pid: number | string): Promise<(name: string) => number> {
  const text = await readFile(`/proc/${pid}/status`, 'utf8').catch(() => '');
  return (name) => Number(new RegExp(`${name}:\\s+(\\d+) kB`).exec(text)?.[1] ?? 0) * 1024;
}
