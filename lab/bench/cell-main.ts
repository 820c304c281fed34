// SPDX-License-Identifier: MIT
/** The process of one cell: see cell-process.ts, which starts it and says what its lines mean. */
import { text } from 'node:stream/consumers';
import { catchInterrupts } from '../proc/interrupt.js';
import type { LabContext } from '../util/context.js';
import { describeError, LabError } from '../util/errors.js';
import { Output } from '../util/output.js';
import { runCell } from './cell.js';
import type { CellMessage, CellRequest } from './cell-process.js';
import { chooseWorkloads, loadWorkloads } from './workloads.js';

const out = new Output(process.stdout);

function say(message: CellMessage): void {
  void out.write(`${JSON.stringify(message)}\n`);
}

async function main(): Promise<void> {
  const { signal } = catchInterrupts();
  const { spec, programs, folders } = JSON.parse(await text(process.stdin)) as CellRequest;
  const ctx: LabContext = {
    ...folders,
    signal,
    log: {
      debug() {},
      info() {},
      warn: (text) => say({ type: 'warn', text }),
      error: (text) => say({ type: 'warn', text }),
    },
    progress: {
      step: (title) => {
        say({ type: 'doing', text: title });
        return { update() {}, done() {}, fail() {} };
      },
    },
  };
  const [workload] = chooseWorkloads(await loadWorkloads(), [spec.workload]);
  if (workload === undefined) throw new LabError('LAB_BUG', `no workload '${spec.workload}'`);
  say({ type: 'done', cell: await runCell({ ...spec, workload }, programs, ctx) });
}

try {
  await main();
} catch (error) {
  say({ type: 'failed', error: describeError(error) });
}
await out.flush();
// Nothing that is left pending may keep the process.
process.exit();
