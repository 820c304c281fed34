// SPDX-License-Identifier: MIT
/**
 * A replay VM and the conversation with the agent in it. Control records go over the port `lemona.plan`; effects go in
 * batches over the plan disk, a small file of which each batch takes one slot. A slot is used again when the agent has
 * read it, so memory and file stay the same, whatever the run's length.
 */
import { type FileHandle, open } from 'node:fs/promises';
import type { Socket } from 'node:net';
import path from 'node:path';
import type { LabContext } from '../lab/util/context.js';
import { deferred } from '../lab/util/deadline.js';
import { ioError, LabError, throwIfAborted } from '../lab/util/errors.js';
import { Scope } from '../lab/util/scope.js';
import { Machine } from '../lab/vm/machine.js';
import type { Accelerator } from '../lab/vm/qemu-args.js';
import {
  type AgentResult,
  type Answer,
  BATCH_MAX_BYTES,
  BEGIN_FLAG,
  type Doubt,
  describeMismatch,
  encodeBatch,
  encodeBegin,
  encodeEnd,
  encodeLost,
  encodeResume,
  encodeStop,
  parseAnswer,
  type Waiting,
} from './control.js';
import { Doubts } from './doubts.js';
import { type About, Told } from './lost.js';

/** What the replay VM boots: our own kernel, for it alone can set all four times. */
export interface ReplayVm {
  readonly bzImage: string;
  /** Path of the initramfs of role `replay`. */
  readonly initramfs: string;
  readonly accelerator: Accelerator;
  readonly memoryMiB?: number;
}

export interface LinkOptions {
  readonly vm: ReplayVm;
  readonly disk: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  /** Gets qemu.argv, console.log, qmp.jsonl and the plan disk. */
  readonly logFolder: string;
  readonly onProgress?: (answer: Extract<Answer, { t: 'progress' }>) => void;
  readonly kernelArgs?: readonly string[];
}

export interface BeginSpec {
  /** The root file system's device number in the recording. */
  readonly dev: number;
  /** Count mismatches and go on; otherwise the first one ends the rebuild. */
  readonly goOn: boolean;
  /** Compare names and attributes after every operation. */
  readonly strict: boolean;
  /** It may end at any effect: an inode's birth may have a higher number than what was set in its course. */
  readonly midway: boolean;
}

/**
 * Nothing of this disk must survive a crash, so the journal is as lazy as it can be, and nothing is flushed at a
 * rename or a truncate.
 */
export const MOUNT_OPTIONS = 'user_xattr,acl,nobarrier,data=writeback,commit=600,noauto_da_alloc,noinit_itable';

export const DEFAULT_MEMORY_MIB = 512;
/** Name of the disk's block node for QMP. */
export const DISK_NODE = 'disk0';
const PLAN_NODE = 'plan';
/** Two would do; more even out a host that is late. */
const SLOTS = 4;
const BOOT_TIMEOUT_MS = 120_000;
/** The agent reads at least one batch in this time, even on a slow machine that swaps. */
const STALL_TIMEOUT_MS = 120_000;
/** The final pass visits every touched inode, and the unmount writes all that is dirty. */
const FINISH_TIMEOUT_MS = 900_000;

/** What the agent says before the answer that ends a stretch of effects. */
interface Aside {
  readonly doubts: readonly Doubt[];
  readonly waiting: Waiting | undefined;
}

/** The agent's answers, in order. */
class Answers {
  readonly #waiting: Answer[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: unknown;
  #last: Answer | undefined;
  #taken = 0;
  readonly #doubts = new Doubts();
  #held: Waiting | undefined;

  constructor(socket: Socket, onProgress: ((answer: Extract<Answer, { t: 'progress' }>) => void) | undefined) {
    let rest = '';
    socket.on('data', (chunk: Buffer) => {
      rest += chunk.toString('latin1');
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        try {
          const answer = parseAnswer(line);
          this.#last = answer;
          if (answer.t === 'progress') onProgress?.(answer);
          else if (answer.t === 'taken') this.#taken++;
          else if (answer.t === 'doubt') this.#doubts.add(answer);
          else if (answer.t === 'waiting') this.#held = answer;
          else this.#waiting.push(answer);
        } catch (error) {
          this.#failure ??= error;
        }
      }
      this.#wake?.();
    });
    const end = () => {
      this.#ended = true;
      this.#wake?.();
    };
    socket.on('end', end);
    socket.on('close', end);
  }

  /** True if the agent said something that the sender must hear before it goes on. */
  get hasNews(): boolean {
    return this.#waiting.length > 0 || this.#failure !== undefined || this.#ended;
  }

  lastSeen(): string {
    const last = this.#last;
    if (last === undefined) return 'the agent said nothing yet';
    return `the agent's last word was ${last.t}${'seq' in last ? ` at seq ${last.seq}` : ''}`;
  }

  async #more(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
  }

  async next(): Promise<Answer> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const answer = this.#waiting.shift();
      if (answer !== undefined) return answer;
      if (this.#ended) throw new LabError('LAB_VM_EXITED', 'the replay VM closed its port without a result');
      await this.#more();
    }
  }

  /** What the agent said since it was asked last. */
  takeDoubts(): readonly Doubt[] {
    return this.#doubts.take();
  }

  takeHeld(): Waiting | undefined {
    const held = this.#held;
    this.#held = undefined;
    return held;
  }

  rewound(): void {
    this.#taken = 0;
    this.#doubts.take();
    this.#held = undefined;
    this.#waiting.length = 0;
  }

  /** Waits until so many batches were read, or there is news. */
  async taken(count: number): Promise<void> {
    while (this.#taken < count && !this.hasNews) await this.#more();
  }
}

export class AgentLink {
  readonly machine: Machine;
  readonly #options: LinkOptions;
  readonly #scope: Scope;
  readonly #socket: Socket;
  readonly #answers: Answers;
  readonly #signal: AbortSignal;
  readonly #ring: FileHandle;
  readonly #diskFailed = deferred<never>();
  readonly #batch = Buffer.allocUnsafe(BATCH_MAX_BYTES);
  #filled = 0;
  #sent = 0;
  readonly #told = new Told();

  private constructor(options: LinkOptions, machine: Machine, ring: FileHandle, scope: Scope, signal: AbortSignal) {
    this.#options = options;
    this.machine = machine;
    this.#ring = ring;
    this.#scope = scope;
    this.#socket = machine.port('lemona.plan');
    this.#signal = signal;
    this.#answers = new Answers(this.#socket, options.onProgress);
    this.#socket.resume();
    // QEMU stops the guest when the host's disk is full, and would wait for ever for somebody to make room.
    machine.qmp.onEvent(({ event, data }) => {
      if (event !== 'BLOCK_IO_ERROR' || data.action !== 'stop') return;
      const full = data.nospace === true;
      this.#diskFailed.reject(
        new LabError(
          full ? 'LAB_ENV_DISK_FULL' : 'LAB_ENV_IO',
          `writing the rebuilt disk ${options.disk.path}: ${full ? "no space left on the host's disk" : String(data.reason)}`,
          full ? { next: 'free some space, or choose another folder for the output' } : {},
        ),
      );
    });
  }

  /** Starts QEMU, paused. Close it with `close`. */
  static async launch(options: LinkOptions, ctx: Pick<LabContext, 'log' | 'signal'>): Promise<AgentLink> {
    const scope = new Scope();
    try {
      const ringFile = path.join(options.logFolder, 'plan.ring');
      let ring: FileHandle;
      try {
        ring = await open(ringFile, 'w');
        scope.defer('the plan disk', () => ring.close());
        await ring.truncate(SLOTS * BATCH_MAX_BYTES);
      } catch (error) {
        throw ioError(`making the plan disk ${ringFile}`, error);
      }
      const machine = await Machine.launch(
        {
          name: 'lemona-replay',
          accelerator: options.vm.accelerator,
          // One: effects have one order.
          smp: 1,
          memoryMiB: options.vm.memoryMiB ?? DEFAULT_MEMORY_MIB,
          kernel: options.vm.bzImage,
          initrd: options.vm.initramfs,
          append: ['lemona.start=0', ...(options.kernelArgs ?? [])],
          disks: [
            { nodeName: DISK_NODE, path: options.disk.path, format: options.disk.format },
            { nodeName: PLAN_NODE, path: ringFile, format: 'raw', readOnly: true },
          ],
          ports: ['lemona.plan'],
          logFolder: options.logFolder,
          extraArgs: [],
        },
        ctx,
      );
      scope.defer('the replay VM', async () => {
        await machine.quit();
      });
      return new AgentLink(options, machine, ring, scope, ctx.signal);
    } catch (error) {
      await scope.close();
      throw error;
    }
  }

  async wait<T>(work: Promise<T>, label: string, timeoutMs: number): Promise<T> {
    return this.machine.guard(Promise.race([work, this.#diskFailed.promise]), {
      label,
      timeoutMs,
      signal: this.#signal,
      lastSeen: () => this.#answers.lastSeen(),
    });
  }

  /** The next answer, which must be of that kind. */
  async expect<K extends Answer['t']>(kind: K, label: string, timeoutMs: number): Promise<Extract<Answer, { t: K }>> {
    const answer = await this.wait(this.#answers.next(), label, timeoutMs);
    if (answer.t === kind) return answer as Extract<Answer, { t: K }>;
    if (answer.t === 'fatal') {
      throw new LabError('LAB_REPLAY_FAILED', `the replay agent gave up after seq ${answer.seq}: ${answer.text}`, {
        next: `the VM's console is in ${this.#options.logFolder}`,
      });
    }
    if (answer.t === 'mismatch') {
      throw new LabError(
        'LAB_REPLAY_DIVERGED',
        `the rebuild differs from the record: ${describeMismatch(answer.mismatch)}`,
        {
          next: '--go-on counts all differences; ./lemona events shows what was recorded around that number',
        },
      );
    }
    throw new LabError('LAB_BUG', `lemona-replay said '${answer.t}' while '${kind}' was due`);
  }

  /** Lets the VM run until its agent is ready. */
  async boot(): Promise<void> {
    await this.machine.start();
    const ready = await this.expect('ready', 'booting the replay VM', BOOT_TIMEOUT_MS);
    if (!ready.settimes) {
      throw new LabError(
        'LAB_REPLAY_FAILED',
        "the replay VM's kernel has no /dev/lemona, so it can't set the four times",
        {
          next: 'it must be of flavour y',
        },
      );
    }
  }

  async #say(bytes: Buffer): Promise<void> {
    // A mismatch or a fatal error ends the stream: whoever expects the next answer throws it.
    if (this.#answers.hasNews) await this.expect('ready', 'streaming the plan', STALL_TIMEOUT_MS);
    throwIfAborted(this.#signal, 'streaming the plan');
    this.#socket.write(bytes);
  }

  /** Sends what was put so far. */
  async flush(): Promise<void> {
    if (this.#filled === 0) return;
    await this.wait(this.#answers.taken(this.#sent - SLOTS + 1), 'the replay VM reading the plan', STALL_TIMEOUT_MS);
    const offset = (this.#sent % SLOTS) * BATCH_MAX_BYTES;
    try {
      await this.#ring.write(this.#batch, 0, this.#filled, offset);
    } catch (error) {
      throw ioError('writing the plan disk', error);
    }
    await this.#say(encodeBatch({ offset, lengthBytes: this.#filled }));
    this.#sent++;
    this.#filled = 0;
  }

  /** Adds one effect, as it was recorded. Returns a promise only when there is something to wait for. */
  put(record: Buffer): Promise<void> | undefined {
    if (record.length <= BATCH_MAX_BYTES - this.#filled) {
      record.copy(this.#batch, this.#filled);
      this.#filled += record.length;
      return undefined;
    }
    return this.flush().then(() => {
      record.copy(this.#batch, 0);
      this.#filled = record.length;
    });
  }

  /** The VM was put back to an earlier state, in which its agent waited: nothing is on its way in either direction. */
  rewound(): void {
    this.#filled = 0;
    this.#sent = 0;
    this.#told.forget();
    this.#answers.rewound();
  }

  async begin(spec: BeginSpec): Promise<void> {
    const flags =
      (spec.goOn ? BEGIN_FLAG.CONTINUE : 0) +
      (spec.strict ? BEGIN_FLAG.STRICT : 0) +
      (spec.midway ? BEGIN_FLAG.MIDWAY : 0);
    await this.#say(encodeBegin({ dev: spec.dev, flags, mountOptions: MOUNT_OPTIONS }));
  }

  /**
   * Completes the file system after what was put so far, and freezes it: the disk then holds exactly that.
   *
   * @param isLean the agent also lets the page cache go
   */
  async stop(id: number, at: string, isLean = false): Promise<Extract<Answer, { t: 'stopped' }> & Aside> {
    await this.flush();
    await this.#say(encodeStop(id, isLean));
    const answer = await this.expect('stopped', `completing the disk at ${at}`, FINISH_TIMEOUT_MS);
    if (answer.id !== id) throw new LabError('LAB_BUG', `lemona-replay stopped at ${answer.id}, wanted ${id}`);
    return { ...answer, doubts: this.#answers.takeDoubts(), waiting: this.#answers.takeHeld() };
  }

  /** Effects were lost here: what they were about must be known before the later ones come. Said once. */
  async lost(about: readonly About[]): Promise<void> {
    const news = this.#told.news(about);
    if (news.length === 0) return;
    await this.flush();
    for (const one of news) await this.#say(encodeLost(one));
  }

  /** After `stop`: goes on. */
  async resume(id: number): Promise<void> {
    await this.#say(encodeResume(id));
  }

  /** Completes and unmounts the file system, and waits for the VM's end. */
  async end(): Promise<AgentResult & Aside> {
    await this.flush();
    await this.#say(encodeEnd());
    const { t: _t, ...result } = await this.expect('result', 'completing the disk', FINISH_TIMEOUT_MS);
    return { ...result, doubts: this.#answers.takeDoubts(), waiting: this.#answers.takeHeld() };
  }

  /** Ends QEMU if it still runs, and closes all files. */
  async close(): Promise<Error[]> {
    return this.#scope.close();
  }
}
