// SPDX-License-Identifier: MIT
/** Every wait has a deadline, a label and a last-seen state. No fixed sleeps. */
import { abortError, type ErrorCode, LabError } from './errors.js';

export interface DeadlineOptions {
  /** What is waited for, as in `waiting for the guest's hello`. */
  readonly label: string;
  /** `Infinity` waits for ever, but still obeys the signal. */
  readonly timeoutMs: number;
  readonly code?: ErrorCode;
  readonly signal?: AbortSignal | undefined;
  /** Read when the deadline passes; goes into the message. */
  readonly lastSeen?: () => string;
  readonly next?: string;
}

/** The error of a deadline that passed. */
export function deadlineError(options: DeadlineOptions): LabError {
  const seen = options.lastSeen?.();
  const tail = seen === undefined || seen === '' ? '' : `; last seen: ${seen}`;
  return new LabError(
    options.code ?? 'LAB_TIMEOUT',
    `${options.label}: nothing within ${options.timeoutMs / 1000} s${tail}`,
    options.next === undefined ? {} : { next: options.next },
  );
}

/**
 * Waits for `work`, but no longer than the deadline or the signal allow.
 * The work itself is not stopped: give it the same signal if it can be.
 */
export async function withDeadline<T>(work: Promise<T>, options: DeadlineOptions): Promise<T> {
  const { signal } = options;
  // A loser of the race may still fail later; that is nobody's news any more.
  work.catch(() => {});
  if (signal?.aborted === true) throw abortError(options.label, signal.reason);
  let timer: NodeJS.Timeout | undefined;
  let onAbort: (() => void) | undefined;
  const stop = new Promise<never>((_resolve, reject) => {
    if (Number.isFinite(options.timeoutMs)) {
      timer = setTimeout(() => reject(deadlineError(options)), options.timeoutMs);
    }
    if (signal !== undefined) {
      onAbort = () => reject(abortError(options.label, signal.reason));
      signal.addEventListener('abort', onAbort, { once: true });
    }
  });
  try {
    return await Promise.race([work, stop]);
  } finally {
    clearTimeout(timer);
    if (onAbort !== undefined) signal?.removeEventListener('abort', onAbort);
  }
}

/** Polls `probe` until it returns something other than undefined, or the deadline passes. */
export async function pollUntil<T>(
  probe: () => Promise<T | undefined> | T | undefined,
  options: DeadlineOptions & { readonly intervalMs?: number },
): Promise<T> {
  const endMs = performance.now() + options.timeoutMs;
  for (;;) {
    if (options.signal?.aborted === true) throw abortError(options.label, options.signal.reason);
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() >= endMs) throw deadlineError(options);
    await new Promise((resolve) => setTimeout(resolve, options.intervalMs ?? 20));
  }
}

/** A promise with its handles outside. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

export function deferred<T>(): Deferred<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: unknown) => void;
  const promise = new Promise<T>((yes, no) => {
    resolve = yes;
    reject = no;
  });
  // Nobody may be waiting yet when it fails; whoever waits later still sees it.
  promise.catch(() => {});
  return { promise, resolve, reject };
}
