// SPDX-License-Identifier: MIT
/** Runs a tool to its end and returns what it printed: qemu-img, tar, mke2fs. */
import { LabError, throwIfAborted } from '../util/errors.js';
import { Child, type ChildSpec, describeExit, shellQuote } from './child.js';

export interface ToolOptions {
  readonly signal?: AbortSignal | undefined;
  readonly cwd?: string;
  readonly env?: NodeJS.ProcessEnv;
  /** More output than this is a broken expectation, not data. */
  readonly maxOutputBytes?: number;
  /** Written to its stdin, which is then closed. */
  readonly input?: string | Buffer;
  readonly next?: string;
}

/**
 * Runs `argv` and returns its stdout. A status other than 0 is
 * LAB_TOOL_FAILED with the command line and the end of its stderr; a full
 * disk is told apart.
 */
export async function runTool(argv: readonly [string, ...string[]], options: ToolOptions = {}): Promise<string> {
  const { signal } = options;
  if (signal !== undefined) throwIfAborted(signal, argv[0]);
  const spec: ChildSpec = {
    label: argv[0],
    argv,
    stdin: options.input === undefined ? 'ignore' : 'pipe',
    stdout: 'pipe',
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: options.env }),
  };
  const child = await Child.spawn(spec);
  const onAbort = () => void child.stop();
  signal?.addEventListener('abort', onAbort, { once: true });
  try {
    if (options.input !== undefined) child.stdin.end(options.input);
    const limit = options.maxOutputBytes ?? 16 * 1024 * 1024;
    const chunks: Buffer[] = [];
    let size = 0;
    for await (const chunk of child.stdout as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > limit) throw new LabError('LAB_BUG', `${argv[0]}: printed more than the ${limit} bytes expected`);
      chunks.push(chunk);
    }
    const exit = await child.exited;
    if (signal !== undefined) throwIfAborted(signal, argv[0]);
    if (exit.code !== 0) {
      const tail = child.outputTail();
      const full = /no space left on device/i.test(tail);
      throw new LabError(
        full ? 'LAB_ENV_DISK_FULL' : 'LAB_TOOL_FAILED',
        `${argv[0]}: ${describeExit(exit)}${tail === '' ? '' : `: ${tail}`}\n  command: ${shellQuote(argv)}`,
        full
          ? { next: 'free some space, or choose another folder with --runs or XDG_CACHE_HOME' }
          : options.next === undefined
            ? {}
            : { next: options.next },
      );
    }
    return Buffer.concat(chunks).toString('utf8');
  } finally {
    signal?.removeEventListener('abort', onAbort);
    await child.stop();
  }
}
