// SPDX-License-Identifier: MIT
/** Runs a tool that takes a minute, and shows its last line as progress. */
import { Child, describeExit, shellQuote } from '../lab/proc/child.js';
import { LabError, throwIfAborted } from '../lab/util/errors.js';
import { withStep } from '../lab/util/progress.js';
import type { BuildContext } from './context.js';

/** A person sees that it lives; nothing depends on it. */
const LOOK_MS = 500;

/** The last line that says something, without what redraws it: pure. */
export function lastLine(text: string): string {
  const lines = text.split(/[\r\n]+/).map((line) => line.trim());
  return lines.filter((line) => line !== '').at(-1) ?? '';
}

export async function runWatched(
  argv: readonly [string, ...string[]],
  title: string,
  ctx: BuildContext,
  options: { readonly env?: NodeJS.ProcessEnv; readonly next?: string } = {},
): Promise<void> {
  throwIfAborted(ctx.signal, title);
  await withStep(ctx.progress, title, async (step) => {
    const child = await Child.spawn({
      label: argv[0],
      argv,
      stdout: 'tail',
      ...(options.env === undefined ? {} : { env: options.env }),
    });
    const onAbort = () => void child.stop({ graceMs: 10_000 });
    ctx.signal.addEventListener('abort', onAbort, { once: true });
    const timer = setInterval(() => step.update(lastLine(child.outputTail())), LOOK_MS);
    try {
      const exit = await child.exited;
      throwIfAborted(ctx.signal, title);
      if (exit.code === 0) return;
      const tail = child.outputTail();
      const full = /no space left on device/i.test(tail);
      throw new LabError(
        full ? 'LAB_ENV_DISK_FULL' : 'LAB_IMAGE_BUILD',
        `${title}: ${argv[0]} ended with ${describeExit(exit)}: ${tail}\n  command: ${shellQuote(argv)}`,
        full
          ? { next: 'free some space, or choose another folder with XDG_CACHE_HOME or TMPDIR' }
          : options.next === undefined
            ? {}
            : { next: options.next },
      );
    } finally {
      clearInterval(timer);
      ctx.signal.removeEventListener('abort', onAbort);
      await child.stop();
    }
  });
}
