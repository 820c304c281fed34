// SPDX-License-Identifier: MIT
/**
 * Progress of long steps, on stderr. On a terminal the running step is one
 * line that is redrawn; elsewhere each step prints a line when it starts and
 * one when it ends, plus at most one every `quietMs` in between.
 */
import { printable } from './printable.js';

export interface ProgressStep {
  /** Says what the step is doing now, such as `12/40 objects`. */
  update(detail: string): void;
  /** The step is over; `detail` is what a reader should remember of it. */
  done(detail?: string): void;
  /** The step failed; the error itself is reported elsewhere. */
  fail(detail?: string): void;
}

export interface Progress {
  step(title: string): ProgressStep;
}

export interface ProgressSink {
  write(text: string): void;
  /** True on a terminal: lines may be redrawn. */
  readonly redraw: boolean;
  readonly columns?: () => number;
}

export interface ProgressOptions {
  readonly now?: () => number;
  /** Least time between two redraws of one line. */
  readonly redrawMs?: number;
  /** Least time between two lines where nothing can be redrawn. */
  readonly quietMs?: number;
}

/** `850 ms`, `12.3 s`, `4 min 05 s`. */
export function formatElapsed(elapsedMs: number): string {
  if (elapsedMs < 1000) return `${Math.round(elapsedMs)} ms`;
  if (elapsedMs < 60_000) return `${(elapsedMs / 1000).toFixed(1)} s`;
  const seconds = Math.round(elapsedMs / 1000);
  return `${Math.floor(seconds / 60)} min ${String(seconds % 60).padStart(2, '0')} s`;
}

export function createProgress(sink: ProgressSink, options: ProgressOptions = {}): Progress {
  const now = options.now ?? Date.now;
  const redrawMs = options.redrawMs ?? 100;
  const quietMs = options.quietMs ?? 10_000;
  const erase = sink.redraw ? '\r\x1b[K' : '';

  return {
    step(title) {
      const startedMs = now();
      let lastMs = sink.redraw ? Number.NEGATIVE_INFINITY : startedMs;
      let over = false;
      const draw = (text: string) => {
        const columns = sink.columns?.() ?? 100;
        sink.write(`${erase}${text.length >= columns ? `${text.slice(0, Math.max(1, columns - 2))}…` : text}`);
      };
      const end = (mark: string, detail?: string) => {
        if (over) return;
        over = true;
        const tail = detail === undefined || detail === '' ? '' : `: ${printable(detail)}`;
        sink.write(`${erase}${mark} ${title}${tail} (${formatElapsed(now() - startedMs)})\n`);
      };
      if (sink.redraw) draw(`… ${title}`);
      else sink.write(`… ${title}\n`);
      return {
        update(detail) {
          if (over) return;
          const at = now();
          if (at - lastMs < (sink.redraw ? redrawMs : quietMs)) return;
          lastMs = at;
          const line = `… ${title}: ${printable(detail)} (${formatElapsed(at - startedMs)})`;
          if (sink.redraw) draw(line);
          else sink.write(`${line}\n`);
        },
        done: (detail) => end('✓', detail),
        fail: (detail) => end('✗', detail),
      };
    },
  };
}

/** Progress on stderr. */
export function stderrProgress(): Progress {
  return createProgress({
    write: (text) => process.stderr.write(text),
    redraw: process.stderr.isTTY === true,
    columns: () => process.stderr.columns ?? 100,
  });
}

/** Progress that nobody sees, for tests and `--quiet`. */
export const silentProgress: Progress = {
  step: () => ({ update() {}, done() {}, fail() {} }),
};

/** Runs `work` as one step: done when it returns, failed when it throws. */
export async function withStep<T>(
  progress: Progress,
  title: string,
  work: (step: ProgressStep) => Promise<T>,
): Promise<T> {
  const step = progress.step(title);
  try {
    const result = await work(step);
    step.done();
    return result;
  } catch (error) {
    step.fail();
    throw error;
  }
}
