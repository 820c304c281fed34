// SPDX-License-Identifier: MIT
/** Load on a guest's web server from the host: the guest says what it wants, `ab` asks for it, and the guest is told. */
import { PassThrough } from 'node:stream';
import { runTool } from '../proc/tool.js';
import { LabError } from '../util/errors.js';
import { freePort } from '../util/free-port.js';
import type { Forward } from '../vm/qemu-args.js';

/** Makes the command `load` of the guest: it says what is wanted on its standard error, and waits for an answer. */
export const LOAD_PROGRAM = `printf '#!/bin/sh\\necho "load $1 $2" >&2\\nread answer && [ "$answer" = done ]\\n' >/root/bin/load
chmod +x /root/bin/load`;

/** What `ab` says that it got. Pure. */
export function servedOf(output: string): string {
  const lines = output.match(/^(Complete requests|Failed requests|Non-2xx responses):.*$/gm) ?? [];
  return lines.map((line) => line.replace(/\s+/g, ' ')).join(', ');
}

export class HostLoad {
  /** The guest's standard input. */
  readonly stdin = new PassThrough();
  readonly forward: Forward;
  /** Why a load failed. */
  failure: unknown;
  readonly #signal: AbortSignal;
  #line = '';

  private constructor(forward: Forward, signal: AbortSignal) {
    this.forward = forward;
    this.#signal = signal;
  }

  static async create(guestPort: number, signal: AbortSignal): Promise<HostLoad> {
    return new HostLoad({ hostPort: await freePort(), guestPort }, signal);
  }

  /** Takes what the guest says; it says the next thing only when it was answered. */
  heard(text: string): void {
    this.#line += text;
    const end = this.#line.lastIndexOf('\n');
    const wanted = /^load (\S+) (\d+)$/m.exec(this.#line.slice(0, end + 1));
    this.#line = this.#line.slice(end + 1);
    if (wanted?.[1] !== undefined) void this.#load(wanted[1], Number(wanted[2]));
  }

  async #load(path: string, count: number): Promise<void> {
    try {
      const url = `http://127.0.0.1:${this.forward.hostPort}/${path}`;
      const output = await runTool(['ab', '-q', '-n', String(count), '-c', '2', url], {
        signal: this.#signal,
        next: 'install the package apache2-utils',
      });
      const served = servedOf(output);
      if (served !== `Complete requests: ${count}, Failed requests: 0`)
        throw new LabError('LAB_GUEST_PROBLEM', `ab did not get ${count} times ${path}: ${served}`);
      this.stdin.write('done\n');
    } catch (error) {
      this.failure ??= error;
      this.stdin.write('failed\n');
    }
  }
}
