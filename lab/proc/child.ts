// SPDX-License-Identifier: MIT
/**
 * The one place that starts long-lived children.
 *
 * Each child leads its own process group (and session), so that a Ctrl-C of
 * the terminal reaches only us: we then stop children in order. A child is
 * registered until it has been reaped; see `registry.ts`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { withDeadline } from '../util/deadline.js';
import { LabError, systemCodeOf } from '../util/errors.js';
import { forgetChild, registerChild } from './registry.js';
import { OutputTail } from './tail.js';

export interface ChildSpec {
  /** Name in messages, such as `QEMU`. */
  readonly label: string;
  /** Program and arguments; never a shell string. */
  readonly argv: readonly [string, ...string[]];
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly stdin?: 'ignore' | 'pipe';
  /** `tail` keeps the last few KiB for error messages, together with stderr. */
  readonly stdout?: 'ignore' | 'pipe' | 'tail';
  /** Have the kernel kill the child should we die without closing it (SIGKILL, a crash). */
  readonly dieWithParent?: boolean;
}

export interface ChildExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface StopOptions {
  /** How long SIGTERM may take before SIGKILL. */
  readonly graceMs?: number;
}

/** `exit status 1` or `killed by SIGKILL`. */
export function describeExit(exit: ChildExit): string {
  return exit.signal === null ? `exit status ${exit.code ?? '?'}` : `killed by ${exit.signal}`;
}

/** An argument list as one could paste it into a shell. For people only; nothing runs it. */
export function shellQuote(argv: readonly string[]): string {
  return argv.map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

/** setpriv execs the program, so the pid and the process group stay the child's own. */
function withParentDeath(argv: readonly string[]): string[] {
  return ['setpriv', '--pdeathsig', 'KILL', '--', ...argv];
}

export class Child {
  readonly label: string;
  readonly argv: readonly string[];
  readonly pid: number;
  /** Settles once the process is reaped and its pipes are closed; never rejects. */
  readonly exited: Promise<ChildExit>;
  readonly #process: ChildProcess;
  readonly #tail: OutputTail;
  #exit: ChildExit | undefined;

  private constructor(spec: ChildSpec, process: ChildProcess, pid: number) {
    this.label = spec.label;
    this.argv = spec.argv;
    this.pid = pid;
    this.#process = process;
    this.#tail = new OutputTail();
    process.stderr?.on('data', (chunk: Buffer) => this.#tail.push(chunk));
    if (spec.stdout === 'tail') process.stdout?.on('data', (chunk: Buffer) => this.#tail.push(chunk));
    // Writing to a child that is gone is reported by its exit, not by EPIPE.
    process.stdin?.on('error', () => {});
    this.exited = new Promise((resolve) => {
      process.once('close', (code, signal) => {
        this.#exit = { code, signal };
        forgetChild(this);
        resolve(this.#exit);
      });
    });
  }

  /** Starts a child; a missing program is LAB_ENV_MISSING. */
  static async spawn(spec: ChildSpec): Promise<Child> {
    const argv = spec.dieWithParent === true ? withParentDeath(spec.argv) : spec.argv;
    const [file, ...args] = argv;
    const process = spawn(file ?? '', args, {
      detached: true,
      stdio: [
        spec.stdin ?? 'ignore',
        spec.stdout === undefined || spec.stdout === 'ignore' ? 'ignore' : 'pipe',
        'pipe',
      ],
      ...(spec.cwd === undefined ? {} : { cwd: spec.cwd }),
      ...(spec.env === undefined ? {} : { env: spec.env }),
    });
    // Node reports a pid at once if the spawn succeeded, and an 'error' event if not.
    if (process.pid === undefined) {
      const error = await new Promise<unknown>((resolve) => process.once('error', resolve));
      const missing = systemCodeOf(error) === 'ENOENT';
      throw new LabError(
        missing ? 'LAB_ENV_MISSING' : 'LAB_TOOL_FAILED',
        `${spec.label}: '${file}' could not be started${missing ? ': no such program' : ''}`,
        { cause: error, ...(missing ? { next: './lemona doctor names the package it is in' } : {}) },
      );
    }
    process.on('error', () => {});
    const child = new Child(spec, process, process.pid);
    registerChild(child);
    return child;
  }

  /** Undefined while it runs. */
  get exit(): ChildExit | undefined {
    return this.#exit;
  }

  get stdin(): Writable {
    if (this.#process.stdin === null) throw new LabError('LAB_BUG', `${this.label}: was started without a stdin pipe`);
    return this.#process.stdin;
  }

  get stdout(): Readable {
    if (this.#process.stdout === null)
      throw new LabError('LAB_BUG', `${this.label}: was started without a stdout pipe`);
    return this.#process.stdout;
  }

  /** The last few KiB it wrote to stderr (and stdout, if kept). */
  outputTail(): string {
    return this.#tail.text();
  }

  /** Signals the whole process group; false if it is gone. */
  signal(signal: NodeJS.Signals): boolean {
    if (this.#exit !== undefined) return false;
    try {
      process.kill(-this.pid, signal);
      return true;
    } catch (error) {
      // ESRCH: gone, or setpriv's setsid has not happened yet (it has: Node calls it before exec).
      if (systemCodeOf(error) === 'ESRCH') return false;
      throw error;
    }
  }

  /** SIGTERM, then SIGKILL after the grace, then the wait for its end. Safe to call twice. */
  async stop(options: StopOptions = {}): Promise<ChildExit> {
    if (this.#exit !== undefined) return this.#exit;
    this.signal('SIGTERM');
    const inGrace = await Promise.race([
      this.exited,
      new Promise<undefined>((resolve) => {
        const timer = setTimeout(() => resolve(undefined), options.graceMs ?? 3000);
        void this.exited.then(() => clearTimeout(timer));
      }),
    ]);
    if (inGrace !== undefined) return inGrace;
    this.signal('SIGKILL');
    // A process in uninterruptible sleep outlives SIGKILL; waiting for ever would hide it.
    return withDeadline(this.exited, { label: `${this.label}: end after SIGKILL`, timeoutMs: 15_000, code: 'LAB_BUG' });
  }
}
