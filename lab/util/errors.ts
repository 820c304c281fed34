// SPDX-License-Identifier: MIT
/**
 * The one table of error codes, and the one error class.
 *
 * A code names what a caller would do about it. Its exit status follows the
 * promise of the command line:
 *   1 a difference or a failed check, 2 usage, 3 the environment lacks
 *   something, 4 our bug.
 * Add a row here before throwing a new code: the type forbids any other.
 */
import { printable } from './printable.js';

export const ERROR_CODES = {
  // What the user typed or named.
  LAB_USAGE: 2,
  LAB_CONFIG_UNKNOWN: 2,
  LAB_IMAGE_UNKNOWN: 2,
  LAB_RUN_UNKNOWN: 2,
  LAB_RUN_EXISTS: 2,
  LAB_RUN_STATE: 2,
  LAB_INSTANT_UNKNOWN: 2,
  LAB_NO_TRUTH: 2,

  // What was found to be different, broken or cut.
  LAB_DIFFERENCE: 1,
  LAB_CHECK_FAILED: 1,
  LAB_RUN_TORN: 1,
  LAB_RUN_CORRUPT: 1,
  LAB_CHECKPOINT_DIGEST: 1,
  LAB_SEGMENT_FOREIGN: 1,
  LAB_SEGMENT_CORRUPT: 1,
  LAB_ABI_MISMATCH: 1,
  LAB_TRACE_GAP: 1,
  LAB_REPLAY_DIVERGED: 1,
  LAB_REPLAY_FAILED: 1,
  LAB_GUEST_PROBLEM: 1,
  LAB_GUEST_PANIC: 1,
  LAB_TIMEOUT: 1,
  LAB_ABORTED: 130,

  // What this machine lacks.
  LAB_ENV_MISSING: 3,
  LAB_ENV_DISK_FULL: 3,
  LAB_ENV_PERMISSION: 3,
  LAB_ENV_IO: 3,
  LAB_TOOL_FAILED: 3,
  LAB_KERNEL_PATCH: 3,
  LAB_KERNEL_BUILD: 3,
  LAB_IMAGE_BUILD: 3,
  LAB_CACHE_CORRUPT: 3,
  LAB_VM_LAUNCH: 3,
  LAB_VM_EXITED: 3,
  LAB_VM_NO_CONNECT: 3,
  LAB_VM_NO_HELLO: 3,
  LAB_LINK_NO_CONNECT: 3,
  LAB_LINK_REFUSED: 3,

  // Our own broken contracts.
  LAB_BUG: 4,
  LAB_VM_STATE: 4,
  LAB_QMP_STATE: 4,
  LAB_QMP_ERROR: 4,
  LAB_QMP_TIMEOUT: 4,
  LAB_CTL_PROTOCOL: 4,
  LAB_LINK_PROTOCOL: 4,
} as const satisfies Record<string, number>;

export type ErrorCode = keyof typeof ERROR_CODES;

export interface LabErrorDetails {
  /** The lower error, kept for the chain that is printed once at the top. */
  readonly cause?: unknown;
  /** What the user should do next; printed after the message. */
  readonly next?: string;
}

/**
 * An error a user may see. The message says what was tried, what was seen and
 * what was wanted; `next` says what to do about it.
 */
export class LabError extends Error {
  override readonly name = 'LabError';
  readonly code: ErrorCode;
  readonly next: string | undefined;

  constructor(code: ErrorCode, message: string, details: LabErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.next = details.next;
  }

  /** The exit status the command line ends with. */
  get exitStatus(): number {
    return ERROR_CODES[this.code];
  }
}

/** The exit status for anything that was thrown; what is not a LabError is our bug. */
export function exitStatusOf(error: unknown): number {
  return error instanceof LabError ? error.exitStatus : 4;
}

/** The text of anything that was thrown, without a stack. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Node's `code` of a system error (`ENOENT`), or undefined. */
export function systemCodeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/**
 * Turns a failed file operation into the error a user understands: a full
 * disk and a missing permission have their own codes.
 */
export function ioError(what: string, error: unknown): LabError {
  if (error instanceof LabError) return error;
  const code = systemCodeOf(error);
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new LabError('LAB_ENV_DISK_FULL', `${what}: no space left on the host's disk (${code})`, {
      cause: error,
      next: 'free some space, or choose another folder with --runs or XDG_CACHE_HOME',
    });
  }
  if (code === 'EACCES' || code === 'EPERM' || code === 'EROFS') {
    return new LabError('LAB_ENV_PERMISSION', `${what}: not permitted (${code})`, {
      cause: error,
      next: 'run as a user who may write there, or choose another folder',
    });
  }
  return new LabError('LAB_ENV_IO', `${what}: ${messageOf(error)}`, { cause: error });
}

/** The whole chain of causes as lines, for printing once at the top; harmless for a terminal. */
export function describeError(error: unknown, options: { stack?: boolean } = {}): string {
  const lines: string[] = [];
  let current: unknown = error;
  // A chain longer than this is a cycle or noise; nobody reads further.
  for (let depth = 0; current !== undefined && depth < 8; depth++) {
    const prefix = depth === 0 ? '' : `${'  '.repeat(depth)}because: `;
    const code = current instanceof LabError ? `${current.code}: ` : '';
    lines.push(`${prefix}${code}${messageOf(current)}`);
    if (options.stack === true && current instanceof Error && current.stack !== undefined) {
      lines.push(...current.stack.split('\n').slice(1));
    }
    current = current instanceof Error ? current.cause : undefined;
  }
  if (error instanceof LabError && error.next !== undefined) lines.push(`next: ${error.next}`);
  return printable(lines.join('\n'));
}

/** Throws LAB_ABORTED if the signal was given: call between the steps of long work. */
export function throwIfAborted(signal: AbortSignal, what: string): void {
  if (signal.aborted) throw abortError(what, signal.reason);
}

/** The error for work that an interrupt or a cancelled parent stopped. */
export function abortError(what: string, reason?: unknown): LabError {
  if (reason instanceof LabError) return reason;
  return new LabError('LAB_ABORTED', `${what}: interrupted`, { cause: reason });
}
