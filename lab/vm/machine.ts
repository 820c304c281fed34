// SPDX-License-Identifier: MIT
/**
 * One virtual machine, from launch to its last byte.
 *
 * Launch: listen on all sockets, start QEMU paused, wait until every socket is
 * connected, negotiate QMP. The caller attaches its readers to the ports and
 * then calls `start`. Whatever fails after that carries how QEMU ended, its
 * output, and the guest kernel's last words.
 */
import { createWriteStream, type WriteStream } from 'node:fs';
import { chmod, writeFile } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import { Child, type ChildExit, describeExit, shellQuote } from '../proc/child.js';
import { type DeadlineOptions, withDeadline } from '../util/deadline.js';
import { type ErrorCode, ioError, LabError, messageOf } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { Scope } from '../util/scope.js';
import { GuestConsole } from './console.js';
import { type Endpoints, type QemuArgsSpec, qemuArgs } from './qemu-args.js';
import { QmpClient } from './qmp.js';
import { SocketFolder } from './sockets.js';

export interface MachineSpec extends Omit<QemuArgsSpec, 'endpoints'> {
  /** Names of the virtio-serial ports, such as `lemona.ctl`. */
  readonly ports: readonly string[];
  /** Gets qemu.argv, reproduce.sh, console.log and qmp.jsonl. */
  readonly logFolder: string;
}

export interface MachineDeps {
  readonly log: Log;
  readonly signal?: AbortSignal | undefined;
}

export interface GuardOptions extends Omit<DeadlineOptions, 'signal'> {
  readonly signal?: AbortSignal | undefined;
}

/** QEMU reaches its sockets within milliseconds; half a minute allows for a machine that swaps. */
const CONNECT_TIMEOUT_MS = 30_000;
/** A panic reboots at once (panic=-1); this is how long its report may take on the serial line. */
const PANIC_SETTLE_MS = 5_000;
/** Some gigabytes to a slow disk. */
const DUMP_TIMEOUT_MS = 120_000;
/** Bytes QEMU sent just before it ended may still be on their way to whoever waits for them. */
const EXIT_SETTLE_MS = 1_000;

export class Machine {
  readonly spec: MachineSpec;
  readonly child: Child;
  readonly console: GuestConsole;
  readonly qmp: QmpClient;
  /** QEMU's version, `7.2.22`. */
  readonly qemuVersion: string;
  readonly #ports: ReadonlyMap<string, Socket>;
  readonly #scope: Scope;
  readonly #log: Log;
  /** Settles when the guest is off: QEMU has ended, or holds still (`keepsMemory`). Never rejects. */
  readonly off: Promise<void>;
  /** How the guest itself went off, in QEMU's words: `guest-shutdown`, or `guest-reset`, as after a panic. */
  #guestEnd: string | undefined;

  private constructor(
    spec: MachineSpec,
    parts: {
      child: Child;
      console: GuestConsole;
      qmp: QmpClient;
      qemuVersion: string;
      ports: ReadonlyMap<string, Socket>;
      scope: Scope;
      log: Log;
    },
  ) {
    this.spec = spec;
    this.child = parts.child;
    this.console = parts.console;
    this.qmp = parts.qmp;
    this.qemuVersion = parts.qemuVersion;
    this.#ports = parts.ports;
    this.#scope = parts.scope;
    this.#log = parts.log;
    this.off = new Promise((resolve) => {
      void this.exited.then(() => resolve());
      this.qmp.onEvent(({ event, data }) => {
        if (event !== 'SHUTDOWN') return;
        if (data.guest === true) this.#guestEnd = String(data.reason);
        resolve();
      });
    });
  }

  /** Starts QEMU, paused, with every socket connected. Close it with `quit`. */
  static async launch(spec: MachineSpec, deps: MachineDeps): Promise<Machine> {
    const scope = new Scope();
    try {
      return await Machine.#launch(spec, deps, scope);
    } catch (error) {
      await scope.close();
      throw error;
    }
  }

  static async #launch(spec: MachineSpec, deps: MachineDeps, scope: Scope): Promise<Machine> {
    const sockets = await SocketFolder.listen(['qmp', 'console', ...spec.ports]);
    scope.defer('sockets', () => sockets.close());
    const argv = qemuArgs({
      ...spec,
      endpoints: {
        kind: 'sockets',
        ports: spec.ports.map((name) => ({ name, socketPath: sockets.path(name) })),
        qmpSocketPath: sockets.path('qmp'),
        consoleSocketPath: sockets.path('console'),
        consoleLogPath: path.join(spec.logFolder, 'console.log'),
      },
    });
    await writeCommandLines(spec, argv);

    const guestConsole = new GuestConsole();
    scope.defer('console', () => guestConsole.dispose());
    const qmpLog = openLog(path.join(spec.logFolder, 'qmp.jsonl'));
    scope.defer('qmp.jsonl', () => closeLog(qmpLog));

    const child = await Child.spawn({ label: 'QEMU', argv, stdout: 'tail', dieWithParent: true });
    scope.defer('QEMU', async () => {
      await child.stop();
    });
    deps.log.debug(`QEMU: pid ${child.pid}, sockets in ${sockets.folder}`);

    const connectAll = Promise.all([
      sockets.connection('qmp'),
      sockets.connection('console'),
      ...spec.ports.map((name) => sockets.connection(name)),
    ]);
    const connected = await withDeadline(
      Promise.race([
        connectAll,
        child.exited.then((exit) => {
          throw new LabError(
            'LAB_VM_LAUNCH',
            `QEMU ended before it was ready: ${describeExit(exit)}\n${outputOf(child)}`,
            {
              next: 'check the arguments given with --qemu-arg; ./lemona doctor checks the rest',
            },
          );
        }),
      ]),
      {
        label: 'QEMU: connecting to our sockets',
        timeoutMs: CONNECT_TIMEOUT_MS,
        code: 'LAB_VM_NO_CONNECT',
        signal: deps.signal,
        lastSeen: () => `not connected: ${sockets.unconnected().join(', ')}\n${outputOf(child)}`,
      },
    );
    const [qmpSocket, consoleSocket, ...portSockets] = connected;
    guestConsole.attach(consoleSocket);
    const qmp = await QmpClient.connect(qmpSocket, { record: (line) => qmpLog.write(`${line}\n`) });
    const ports = new Map<string, Socket>();
    spec.ports.forEach((name, index) => {
      const socket = portSockets[index];
      if (socket !== undefined) ports.set(name, socket);
    });
    const qemuVersion = await qmp.version;
    return new Machine(spec, { child, console: guestConsole, qmp, qemuVersion, ports, scope, log: deps.log });
  }

  /** Lets the guest run. Attach readers to the ports first. */
  async start(): Promise<void> {
    await this.qmp.execute('cont');
  }

  /** Our end of a port; paused until its reader resumes it. */
  port(name: string): Socket {
    const socket = this.#ports.get(name);
    if (socket === undefined) {
      throw new LabError('LAB_BUG', `machine: no port '${name}'; it has ${[...this.#ports.keys()].join(', ')}`);
    }
    return socket;
  }

  /** The guest went off by itself, in order or by a crash. */
  get hasEnded(): boolean {
    return this.console.crash !== undefined || this.#guestEnd !== undefined;
  }

  /** Settles with how QEMU ended; never rejects. */
  get exited(): Promise<ChildExit> {
    return this.child.exited;
  }

  /**
   * Waits for `work` while watching the guest: its kernel's panic, QEMU's end,
   * the deadline and the signal all end the wait with an error that says so.
   */
  async guard<T>(work: Promise<T>, options: GuardOptions): Promise<T> {
    work.catch(() => {});
    let stopCrash: (() => void) | undefined;
    const crash = new Promise<'crash'>((resolve) => {
      if (this.console.crash !== undefined) resolve('crash');
      else stopCrash = this.console.onCrash(() => resolve('crash'));
    });
    const settle = (ms: number): Promise<'late'> =>
      new Promise((resolve) => {
        setTimeout(() => resolve('late'), ms).unref();
      });
    // A reset is that of a panic, most likely, and a busy host may show the words before it later.
    const lastWords = () =>
      this.#guestEnd === 'guest-reset' ? Promise.race([crash, settle(PANIC_SETTLE_MS)]) : undefined;
    // A port that closed under the work is the first sign of QEMU's end; its exit is the better story.
    const told = work.catch(async (error: unknown) => {
      if (!(error instanceof LabError) || error.code !== 'LAB_VM_EXITED') throw error;
      await Promise.race([this.off, settle(PANIC_SETTLE_MS)]);
      await lastWords();
      throw this.failure('LAB_VM_EXITED', `${options.label}: QEMU ended`, error);
    });
    told.catch(() => {});
    const watch = (async (): Promise<{ value: T }> => {
      const first = await Promise.race([
        told.then((value) => ({ value })),
        crash,
        this.off.then(() => 'exit' as const),
      ]);
      if (typeof first === 'object') return first;
      if (first === 'crash') {
        await Promise.race([this.off, settle(PANIC_SETTLE_MS)]);
        throw this.failure('LAB_GUEST_PANIC', `${options.label}: the guest's kernel crashed`);
      }
      const late = await Promise.race([told.then((value) => ({ value })), settle(EXIT_SETTLE_MS)]);
      if (typeof late === 'object') return late;
      await lastWords();
      throw this.failure('LAB_VM_EXITED', `${options.label}: QEMU ended`);
    })();
    try {
      const { value } = await withDeadline(watch, {
        ...options,
        lastSeen: () => [options.lastSeen?.(), this.lastSeen()].filter(Boolean).join('; '),
      });
      return value;
    } finally {
      stopCrash?.();
    }
  }

  /** The state a person needs to see when a wait failed. */
  lastSeen(): string {
    const lines = this.console.screen().slice(-8);
    const screen = lines.length === 0 ? 'the console is empty' : `the console ends with:\n${indent(lines.join('\n'))}`;
    return `QMP event ${this.qmp.lastEvent}; ${screen}`;
  }

  /** An error that carries how QEMU ended, what it said, and the guest's last words. */
  failure(code: ErrorCode, message: string, cause?: unknown): LabError {
    const exit = this.child.exit;
    const parts = [message + (exit === undefined ? '' : ` (QEMU: ${describeExit(exit)})`)];
    if (this.console.crash !== undefined) parts.push(`the guest's kernel said:\n${indent(this.console.crash)}`);
    else if (this.console.tail() !== '')
      parts.push(`the console ends with:\n${indent(this.console.tail().split('\n').slice(-15).join('\n'))}`);
    const output = this.child.outputTail();
    if (output !== '') parts.push(`QEMU said:\n${indent(output)}`);
    return new LabError(this.console.crash === undefined ? code : 'LAB_GUEST_PANIC', parts.join('\n'), {
      ...(cause === undefined ? {} : { cause }),
      next: `sh ${shellQuote([path.join(this.spec.logFolder, 'reproduce.sh')])} boots the same guest by hand`,
    });
  }

  /** Writes the guest's memory to a file, as an ELF core file with physical addresses. */
  async dumpMemory(file: string): Promise<void> {
    const args = { paging: false, protocol: `file:${file}` };
    await this.qmp.execute('dump-guest-memory', args, { timeoutMs: DUMP_TIMEOUT_MS });
  }

  /**
   * Asks QEMU how far its disks' queues are: of a guest that hangs, `qmp.jsonl` then tells whether QEMU knows of what it
   * waits for. QEMU before 7.2 can't say.
   */
  async noteDiskQueues(): Promise<void> {
    const ask = (command: string, args?: Record<string, string | number>) =>
      this.qmp.execute(command, args, { timeoutMs: 3_000 });
    try {
      const devices = (await ask('x-query-virtio')) as readonly { readonly path: string; readonly name: string }[];
      for (const { path: at, name } of devices)
        if (name === 'virtio-blk') await ask('x-query-virtio-queue-status', { path: at, queue: 0 });
    } catch (error) {
      this.#log.debug(`QEMU does not tell of its disks: ${messageOf(error)}`);
    }
  }

  /** Ends it: QMP `quit`, SIGTERM, SIGKILL, then the wait. Safe to call twice, and after its own end. */
  async quit(): Promise<ChildExit> {
    if (this.child.exit === undefined && this.qmp.state === 'ready') {
      try {
        // QEMU may reset the connection before it answers: its exit is the answer.
        await this.qmp.execute('quit', undefined, { timeoutMs: 3_000 }).catch(() => {});
        await withDeadline(this.exited, { label: 'QEMU: end after quit', timeoutMs: 5_000 });
      } catch {
        this.#log.debug('QEMU: did not obey quit, sending SIGTERM');
      }
    }
    const exit = await this.child.stop();
    for (const error of await this.#scope.close()) this.#log.warn(error.message);
    return exit;
  }
}

function outputOf(child: Child): string {
  const output = child.outputTail();
  return `${output === '' ? 'it printed nothing' : `it printed:\n${indent(output)}`}\ncommand line:\n  ${shellQuote(child.argv)}`;
}

function indent(text: string): string {
  return text
    .split('\n')
    .map((line) => `  ${line}`)
    .join('\n');
}

/** A path within a folder as seen from there, others as they are: a folder that was moved still finds its own. Pure. */
function seenFrom(folder: string, file: string): string {
  const relative = path.relative(folder, path.resolve(file));
  return relative.startsWith('..') ? path.resolve(file) : relative;
}

/** qemu.argv: what was run, one argument a line. reproduce.sh: the same guest with its console on the terminal. */
async function writeCommandLines(spec: MachineSpec, argv: readonly string[]): Promise<void> {
  const endpoints: Endpoints = { kind: 'by-hand', portNames: spec.ports, portFolder: '.' };
  const disks = spec.disks.map((disk) => ({ ...disk, path: seenFrom(spec.logFolder, disk.path) }));
  const script = path.join(spec.logFolder, 'reproduce.sh');
  try {
    await writeFile(path.join(spec.logFolder, 'qemu.argv'), `${argv.join('\n')}\n`);
    await writeFile(
      script,
      `#!/bin/sh\n# The same guest by hand: console on the terminal (Ctrl-A X ends it), changes to the disk are thrown away.\ncd "$(dirname "$0")" || exit\nexec ${shellQuote(qemuArgs({ ...spec, disks, endpoints }))}\n`,
    );
    await chmod(script, 0o755);
  } catch (error) {
    throw ioError(`writing QEMU's command line to ${spec.logFolder}`, error);
  }
}

function openLog(file: string): WriteStream {
  const stream = createWriteStream(file, { flags: 'w' });
  // A log that can't be written must not stop a recording; the segments' own errors do that.
  stream.on('error', () => {});
  return stream;
}

function closeLog(stream: WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed) resolve();
    else stream.once('close', () => resolve());
    stream.end();
  });
}
