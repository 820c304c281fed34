// SPDX-License-Identifier: MIT
/** A program: reads a run as a rebuild does, `read-plan.ts RUN-FOLDER`, and prints how many effects its plan has. */
import { indexRun } from '../../lab/trace/run-index.js';
import { planEffects } from '../../replay/plan.js';

const runDir = process.argv[2] ?? '';
const index = await indexRun(runDir);
let effects = 0;
for await (const item of planEffects(runDir, index, { after: 0n, to: index.totals.seqLast, dev: 0xfe00 }))
  if (item.type === 'effect') effects++;
await index.close();
process.stdout.write(`${effects}\n`);
