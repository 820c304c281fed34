// SPDX-License-Identifier: MIT
/** Programs for the guest: `test/boot/guest/NAME.c`, or all of the folder `test/boot/guest/NAME`. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { runTool } from '../../lab/proc/tool.js';

const GUEST = path.join(ROOT, 'test/boot/guest');

/** Compiles a static program into a folder under its own name; returns its path. */
export async function guestProgram(name: string, folder: string): Promise<string> {
  const output = path.join(folder, name);
  const parts = await readdir(path.join(GUEST, name)).catch(() => undefined);
  const sources = parts?.filter((part) => part.endsWith('.c')).map((part) => path.join(name, part)) ?? [`${name}.c`];
  await runTool([
    ...(['gcc', '-static', '-O1', '-std=gnu11', '-pthread', '-Wall', '-Wextra', '-Werror'] as const),
    ...['-I', path.join(ROOT, 'module'), '-o', output],
    ...sources.map((source) => path.join(GUEST, source)),
  ]);
  return output;
}
