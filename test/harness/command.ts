// SPDX-License-Identifier: MIT
/** Runs ./lemona as a user would, and looks for what it left behind. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { deadlineError, pollUntil } from '../../lab/util/deadline.js';

export const LEMONA = path.join(ROOT, 'lemona');

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface LemonaOptions {
  readonly program?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** Press Ctrl-C when this has been printed, on stdout or stderr. */
  readonly interruptAt?: RegExp;
  /** And so much later. */
  readonly interruptAfterMs?: number;
}

const INTERRUPT_WAIT_MS = 300_000;
const END_WAIT_MS = 30_000;

/** A variable that all descendants of one command inherit. */
const MARKER = 'LEMONA_TEST_COMMAND';

/** What still runs of a command: process ids with their command lines. */
async function leftOf(marker: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const environ = await readFile(`/proc/${name}/environ`, 'latin1').catch(() => '');
    if (!environ.split('\0').includes(`${MARKER}=${marker}`)) continue;
    const line = await readFile(`/proc/${name}/cmdline`, 'latin1').catch(() => '');
    // One that ended and was not reaped yet has neither.
    if (line !== '') found.push(`${name} ${line.replaceAll('\0', ' ')}`);
  }
  return found;
}

/** Runs a command to its end; fails if a process of it is left. */
export async function lemona(args: readonly string[], cwd: string, options: LemonaOptions = {}): Promise<Ended> {
  const marker = randomBytes(8).toString('hex');
  const child = spawn(options.program ?? LEMONA, args, {
    cwd,
    env: { ...process.env, ...options.env, [MARKER]: marker },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('utf8');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('utf8');
  });
  const closed = once(child, 'close') as Promise<[number | null]>;
  const { interruptAt } = options;
  if (interruptAt !== undefined) {
    try {
      await pollUntil(
        () => {
          if (interruptAt.test(stdout) || interruptAt.test(stderr)) return true;
          if (child.exitCode !== null) throw new Error(`it ended before '${interruptAt}' was seen: ${stdout}${stderr}`);
          return undefined;
        },
        { label: `${interruptAt}`, timeoutMs: INTERRUPT_WAIT_MS, intervalMs: 5, lastSeen: () => `${stdout}${stderr}` },
      );
      await new Promise((resolve) => setTimeout(resolve, options.interruptAfterMs ?? 0));
      child.kill('SIGINT');
      const timer = setTimeout(() => child.kill('SIGKILL'), END_WAIT_MS);
      await closed;
      clearTimeout(timer);
      if (child.signalCode === 'SIGKILL') {
        throw deadlineError({ label: 'the end after Ctrl-C', timeoutMs: END_WAIT_MS, lastSeen: () => stderr });
      }
    } finally {
      child.kill('SIGKILL');
    }
  }
  const [status] = await closed;
  const left = await leftOf(marker);
  if (left.length > 0) throw new Error(`left behind by lemona ${args.join(' ')}: ${left.join('; ')}\n${stderr}`);
  return { status, stdout, stderr };
}
