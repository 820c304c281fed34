// SPDX-License-Identifier: MIT
/**
 * Ctrl-C: the first interrupt closes, the second kills.
 *
 * The first SIGINT, SIGTERM or SIGHUP aborts the signal that all long work
 * obeys; scopes then close guests, segments and files in order. A second one
 * kills every child and ends this process at once, and so does a closing that
 * comes to no end: timeout(1) sends no second signal. One Ctrl-C may reach us
 * twice, from the terminal and from a wrapper that passes it on: what follows
 * within half a second is the same interrupt.
 */
import { LabError } from '../util/errors.js';
import { killAllChildren } from './registry.js';

const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

const SAME_INTERRUPT_MS = 500;
/** Guests end in seconds; the digest of a large disk takes minutes. */
const CLOSE_MS = 600_000;

export interface Interrupts {
  readonly signal: AbortSignal;
  /** Gives the signals back to their defaults. */
  dispose(): void;
}

export interface InterruptOptions {
  /** Told once, at the first interrupt. */
  readonly onFirst?: (name: string) => void;
  readonly exit?: (status: number) => void;
  readonly now?: () => number;
  readonly closeMs?: number;
}

/** Called once by the command line, before any long work starts. */
export function catchInterrupts(options: InterruptOptions = {}): Interrupts {
  const controller = new AbortController();
  const exit = options.exit ?? ((status: number) => process.exit(status));
  const now = options.now ?? (() => performance.now());
  let firstMs = 0;
  let watchdog: NodeJS.Timeout | undefined;
  const end = (name: NodeJS.Signals) => {
    killAllChildren();
    exit(SIGNALS[name as keyof typeof SIGNALS]);
  };
  const handler = (name: NodeJS.Signals) => {
    if (controller.signal.aborted) {
      if (now() - firstMs < SAME_INTERRUPT_MS) return;
      end(name);
      return;
    }
    firstMs = now();
    watchdog = setTimeout(() => end(name), options.closeMs ?? CLOSE_MS).unref();
    options.onFirst?.(name);
    controller.abort(new LabError('LAB_ABORTED', `interrupted by ${name}`));
  };
  for (const name of Object.keys(SIGNALS)) process.on(name as NodeJS.Signals, handler);
  return {
    signal: controller.signal,
    dispose() {
      clearTimeout(watchdog);
      for (const name of Object.keys(SIGNALS)) process.off(name as NodeJS.Signals, handler);
    },
  };
}
