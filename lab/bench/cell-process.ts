// SPDX-License-Identifier: MIT
/** Runs a cell in a process of its own, and tells what it is doing. */
import path from 'node:path';
import { createInterface } from 'node:readline';
import { Child, describeExit } from '../proc/child.js';
import type { LabContext } from '../util/context.js';
import { LabError, throwIfAborted } from '../util/errors.js';
import type { ProgressStep } from '../util/progress.js';
import type { CellSpec } from './cell.js';
import type { DoneCell } from './report-data.js';

/** What is asked of the process, as one line on its stdin. */
export interface CellRequest {
  readonly spec: Omit<CellSpec, 'workload'> & { readonly workload: string };
  /** Folder of the guest's programs. */
  readonly programs: string;
  readonly folders: Pick<LabContext, 'cacheDir' | 'dataDir' | 'runsDir'>;
}

/** What it says, as lines on its stdout. */
export type CellMessage =
  | { readonly type: 'doing'; readonly text: string }
  | { readonly type: 'warn'; readonly text: string }
  | { readonly type: 'done'; readonly cell: DoneCell }
  | { readonly type: 'failed'; readonly error: string };

/** A guest that is told to end writes what is left of its record first. */
const STOP_GRACE_MS = 60_000;

/** Throws if the cell fails: with what it said, or, if it said nothing, with how it ended. */
export async function runCellProcess(request: CellRequest, step: ProgressStep, ctx: LabContext): Promise<DoneCell> {
  throwIfAborted(ctx.signal, 'the bench');
  const { config, workload } = request.spec;
  const child = await Child.spawn({
    label: 'cell',
    argv: [process.execPath, ...process.execArgv, path.join(import.meta.dirname, 'cell-main.ts')],
    stdin: 'pipe',
    stdout: 'pipe',
    dieWithParent: true,
  });
  const onAbort = () => void child.stop({ graceMs: STOP_GRACE_MS });
  ctx.signal.addEventListener('abort', onAbort, { once: true });
  let cell: DoneCell | undefined;
  let failure: string | undefined;
  try {
    child.stdin.end(`${JSON.stringify(request)}\n`);
    for await (const line of createInterface({ input: child.stdout })) {
      const message = JSON.parse(line) as CellMessage;
      if (message.type === 'doing') step.update(message.text);
      else if (message.type === 'warn') ctx.log.warn(`${config}, ${workload}: ${message.text}`);
      else if (message.type === 'done') ({ cell } = message);
      else failure = message.error;
    }
    const exit = await child.exited;
    throwIfAborted(ctx.signal, 'the bench');
    if (failure !== undefined) throw new LabError('LAB_GUEST_PROBLEM', failure);
    if (cell === undefined)
      throw new LabError('LAB_TOOL_FAILED', `the cell's process: ${describeExit(exit)}: ${child.outputTail()}`);
    return cell;
  } finally {
    ctx.signal.removeEventListener('abort', onAbort);
    await child.stop({ graceMs: STOP_GRACE_MS });
  }
}
