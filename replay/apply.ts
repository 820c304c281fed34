// SPDX-License-Identifier: MIT
/**
 * Applies a plan to a disk: boots the replay VM, streams the effects into its port `lemona.plan` and reads what the
 * agent answers. The socket's own limit is the back-pressure: about two batches are in memory, whatever the run's
 * length.
 */
import type { Socket } from 'node:net';
import type { LabContext } from '../lab/util/context.js';
import { deferred, withDeadline } from '../lab/util/deadline.js';
import { LabError, throwIfAborted } from '../lab/util/errors.js';
import type { ProgressStep } from '../lab/util/progress.js';
import { Machine } from '../lab/vm/machine.js';
import type { Accelerator } from '../lab/vm/qemu-args.js';
import {
  type AgentResult,
  type Answer,
  BEGIN_FLAG,
  describeMismatch,
  encodeBegin,
  encodeEnd,
  encodeResume,
  encodeStop,
  parseAnswer,
} from './control.js';
import type { PlanGap, PlanItem } from './plan.js';

/** What the replay VM boots: our own kernel, for it alone can set all four times. */
export interface ReplayVm {
  readonly bzImage: string;
  /** Path of the initramfs of role `replay`. */
  readonly initramfs: string;
  readonly accelerator: Accelerator;
  readonly memoryMiB?: number;
}

/** An instant at which the disk is completed and shown to the caller. */
export interface Stop {
  readonly seq: bigint;
  /** The file system is frozen and complete while this runs; the disk's file may be read. */
  readonly visit: () => Promise<void>;
}

export interface ApplyOptions {
  readonly vm: ReplayVm;
  readonly disk: { readonly path: string; readonly format: 'raw' | 'qcow2' };
  /** The root file system's device number in the recording. */
  readonly dev: number;
  readonly plan: AsyncIterable<PlanItem>;
  /** How many effects there are at most, for the progress line. */
  readonly lastSeq: bigint;
  /** Ascending by seq. */
  readonly stops?: readonly Stop[];
  /** Count mismatches and go on; otherwise the first one ends the rebuild. */
  readonly goOn?: boolean;
  /** Compare names and attributes after every operation. */
  readonly strict?: boolean;
  /** Gets qemu.argv, console.log and qmp.jsonl. */
  readonly logFolder: string;
}

export interface ApplyResult extends AgentResult {
  readonly gaps: readonly PlanGap[];
  /** From QEMU's launch to its end. */
  readonly seconds: { readonly boot: number; readonly stream: number; readonly total: number };
}

/**
 * Nothing of this disk must survive a crash, so the journal is as lazy as it can be, and nothing is flushed at a
 * rename or a truncate.
 */
export const MOUNT_OPTIONS = 'user_xattr,acl,nobarrier,data=writeback,commit=600,noauto_da_alloc,noinit_itable';

const DEFAULT_MEMORY_MIB = 512;
/** One write to the socket: large enough that its cost does not count, small enough to be bounded memory. */
const BATCH_BYTES = 256 * 1024;
const BOOT_TIMEOUT_MS = 120_000;
/** The agent reads at least one batch in this time, even on a slow machine that swaps. */
const STALL_TIMEOUT_MS = 120_000;
/** The final pass visits every touched inode, and the unmount writes all that is dirty. */
const FINISH_TIMEOUT_MS = 900_000;
/** Gaps listed; a run with more has nothing left to rebuild. */
const GAPS_LISTED = 10_000;

/** The agent's answers, in order. */
class Answers {
  readonly #waiting: Answer[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: unknown;
  #last: Answer | undefined;

  constructor(socket: Socket, onProgress: (answer: Extract<Answer, { t: 'progress' }>) => void) {
    let rest = '';
    socket.on('data', (chunk: Buffer) => {
      rest += chunk.toString('latin1');
      for (let end = rest.indexOf('\n'); end >= 0; end = rest.indexOf('\n')) {
        const line = rest.slice(0, end);
        rest = rest.slice(end + 1);
        try {
          const answer = parseAnswer(line);
          this.#last = answer;
          if (answer.t === 'progress') onProgress(answer);
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

  async next(): Promise<Answer> {
    for (;;) {
      if (this.#failure !== undefined) throw this.#failure;
      const answer = this.#waiting.shift();
      if (answer !== undefined) return answer;
      if (this.#ended) throw new LabError('LAB_VM_EXITED', 'the replay VM closed its port without a result');
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

class Applying {
  readonly #options: ApplyOptions;
  readonly #machine: Machine;
  readonly #socket: Socket;
  readonly #answers: Answers;
  readonly #signal: AbortSignal;
  readonly gaps: PlanGap[] = [];
  readonly #diskFailed = deferred<never>();
  #batch = Buffer.allocUnsafe(BATCH_BYTES);
  #filled = 0;

  constructor(options: ApplyOptions, machine: Machine, step: ProgressStep, signal: AbortSignal) {
    this.#options = options;
    this.#machine = machine;
    this.#socket = machine.port('lemona.plan');
    this.#signal = signal;
    this.#answers = new Answers(this.#socket, (p) => {
      step.update(`effect ${p.seq} of ${options.lastSeq}, ${(Number(p.bytes) / 1e6).toFixed(0)} MB of content`);
    });
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

  async wait<T>(work: Promise<T>, label: string, timeoutMs: number): Promise<T> {
    return this.#machine.guard(Promise.race([work, this.#diskFailed.promise]), {
      label,
      timeoutMs,
      signal: this.#signal,
      lastSeen: () => this.#answers.lastSeen(),
    });
  }

  /** The next answer, which must be of that kind. */
  async expect<K extends Answer['t']>(kind: K, label: string, timeoutMs: number): Promise<Extract<Answer, { t: K }>> {
    for (;;) {
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
  }

  async #send(bytes: Buffer): Promise<void> {
    // A mismatch or a fatal error ends the stream: whoever expects the next answer throws it.
    if (this.#answers.hasNews) await this.expect('ready', 'streaming the plan', STALL_TIMEOUT_MS);
    throwIfAborted(this.#signal, 'streaming the plan');
    if (this.#socket.write(bytes)) return;
    const drained = new Promise<void>((resolve) => {
      const done = () => {
        this.#socket.off('drain', done);
        this.#socket.off('close', done);
        resolve();
      };
      this.#socket.on('drain', done);
      this.#socket.on('close', done);
    });
    await this.wait(drained, 'the replay VM reading the plan', STALL_TIMEOUT_MS);
  }

  async #flush(): Promise<void> {
    if (this.#filled === 0) return;
    const batch = this.#batch.subarray(0, this.#filled);
    // The socket keeps the old one until it is written.
    this.#batch = Buffer.allocUnsafe(BATCH_BYTES);
    this.#filled = 0;
    await this.#send(batch);
  }

  async #put(record: Buffer): Promise<void> {
    if (record.length > BATCH_BYTES - this.#filled) await this.#flush();
    if (record.length > BATCH_BYTES) {
      await this.#send(Buffer.from(record));
      return;
    }
    record.copy(this.#batch, this.#filled);
    this.#filled += record.length;
  }

  async #stop(id: number, stop: Stop): Promise<void> {
    await this.#put(encodeStop(id));
    await this.#flush();
    const answer = await this.expect('stopped', `completing the disk at seq ${stop.seq}`, FINISH_TIMEOUT_MS);
    if (answer.id !== id) throw new LabError('LAB_BUG', `lemona-replay stopped at ${answer.id}, wanted ${id}`);
    await stop.visit();
    await this.#put(encodeResume(id));
  }

  async stream(): Promise<AgentResult> {
    const { dev, plan, goOn = false, strict = false, stops = [] } = this.#options;
    const flags = (goOn ? BEGIN_FLAG.CONTINUE : 0) + (strict ? BEGIN_FLAG.STRICT : 0);
    await this.#put(encodeBegin({ dev, flags, mountOptions: MOUNT_OPTIONS }));
    let next = 0;
    for await (const item of plan) {
      if (item.type === 'gap') {
        if (this.gaps.length < GAPS_LISTED) this.gaps.push(item);
        continue;
      }
      for (let stop = stops[next]; stop !== undefined && stop.seq < item.seq; stop = stops[next])
        await this.#stop(next++, stop);
      await this.#put(item.buf);
    }
    for (let stop = stops[next]; stop !== undefined; stop = stops[next]) await this.#stop(next++, stop);
    await this.#put(encodeEnd());
    await this.#flush();
    const { t: _t, ...result } = await this.expect('result', 'completing the disk', FINISH_TIMEOUT_MS);
    return result;
  }
}

/**
 * Applies a plan to a disk that holds the checkpoint.
 *
 * @throws LabError LAB_REPLAY_DIVERGED at the first mismatch, unless `goOn`
 */
export async function applyPlan(
  options: ApplyOptions,
  ctx: Pick<LabContext, 'log' | 'progress' | 'signal'>,
): Promise<ApplyResult> {
  const { vm, disk } = options;
  const step = ctx.progress.step('replay');
  const startedMs = performance.now();
  let machine: Machine | undefined;
  try {
    machine = await Machine.launch(
      {
        name: 'lemona-replay',
        accelerator: vm.accelerator,
        // One: effects have one order.
        smp: 1,
        memoryMiB: vm.memoryMiB ?? DEFAULT_MEMORY_MIB,
        kernel: vm.bzImage,
        initrd: vm.initramfs,
        append: ['lemona.start=0'],
        disks: [{ nodeName: 'disk0', path: disk.path, format: disk.format }],
        ports: ['lemona.plan'],
        logFolder: options.logFolder,
        extraArgs: [],
      },
      ctx,
    );
    const applying = new Applying(options, machine, step, ctx.signal);
    await machine.start();
    const ready = await applying.expect('ready', 'booting the replay VM', BOOT_TIMEOUT_MS);
    if (!ready.settimes) {
      throw new LabError(
        'LAB_REPLAY_FAILED',
        "the replay VM's kernel has no /dev/lemona, so it can't set the four times",
        {
          next: 'it must be of flavour y',
        },
      );
    }
    const streamMs = performance.now();
    const result = await applying.stream();
    const endMs = performance.now();
    // QEMU closes the disk's file on its way out; only then it is complete.
    await withDeadline(machine.exited, { label: 'the replay VM: power off', timeoutMs: 60_000, signal: ctx.signal });
    step.done(`${result.applied} effects in ${((endMs - streamMs) / 1000).toFixed(1)} s`);
    return {
      ...result,
      gaps: applying.gaps,
      seconds: {
        boot: (streamMs - startedMs) / 1000,
        stream: (endMs - streamMs) / 1000,
        total: (performance.now() - startedMs) / 1000,
      },
    };
  } catch (error) {
    step.fail();
    throw error;
  } finally {
    await machine?.quit();
  }
}
