// SPDX-License-Identifier: MIT
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { type Invocation, ROOT } from '../invocation.js';

const TSX = ['--import', path.join(ROOT, 'node_modules/tsx/dist/loader.mjs')];
const bin = (name: string) => path.join(ROOT, 'node_modules/.bin', name);

/** The same steps as `npm run check`, which calls this. */
const STEPS: readonly (readonly [string, string, readonly string[]])[] = [
  ['types', bin('tsc'), ['--noEmit']],
  ['lint and format', bin('biome'), ['check', '--error-on-warnings', '.']],
  ['folder table', process.execPath, [...TSX, 'lab/check-deps.ts']],
  ['generated ABI files', process.execPath, [...TSX, 'lab/abi/generate.ts', '--check']],
  ['generated documents', process.execPath, [...TSX, 'lab/cli/generate-docs.ts', '--check']],
];

/** `check all`: all steps run, even if one fails. */
export async function run(invocation: Invocation): Promise<number> {
  const { signal, progress } = invocation.context();
  let failed = 0;
  for (const [title, program, args] of STEPS) {
    const step = progress.step(title);
    const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', 2, 2], signal });
    const [code] = (await once(child, 'close')) as [number | null];
    if (code === 0) step.done();
    else {
      step.fail();
      failed += 1;
    }
  }
  await invocation.out.line(`${STEPS.length - failed} of ${STEPS.length} checks passed`);
  return failed === 0 ? 0 : 1;
}
