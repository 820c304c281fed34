// SPDX-License-Identifier: MIT
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { runTool } from '../../lab/proc/tool.js';

const SOURCES = path.join(ROOT, 'test/boot/guest/exerciser');

/** Compiles the filesystem exerciser, for any guest. */
export async function compileExerciser(program: string): Promise<void> {
  const sources = (await readdir(SOURCES))
    .filter((name) => name.endsWith('.c'))
    .map((name) => path.join(SOURCES, name));
  await runTool(['gcc', '-static', '-O1', '-std=gnu11', '-pthread', '-Wall', '-Wextra', '-o', program, ...sources]);
}
