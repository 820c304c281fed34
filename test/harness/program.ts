// SPDX-License-Identifier: MIT
/** Programs for the guest: `test/boot/guest/NAME.c`, or all of the folder `test/boot/guest/NAME`. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { ROOT } from '../../lab/cli/invocation.js';
import { sh } from './sh.js';

const GUEST = path.join(ROOT, 'test/boot/guest');
const LIBC = ['-static', '-std=gnu11', '-pthread'];

/** Compiles a static program into a folder under its own name; returns its path. */
export async function guestProgram(name: string, folder: string, flags: readonly string[] = LIBC): Promise<string> {
  const output = path.join(folder, name);
  const isFolder = (await readdir(GUEST)).includes(name);
  const parts = isFolder
    ? (await readdir(path.join(GUEST, name))).sort().map((part) => path.join(name, part))
    : [`${name}.c`];
  const sources = parts.filter((part) => part.endsWith('.c')).map((part) => path.join(GUEST, part));
  await sh`gcc ${[...flags]} -O1 -Wall -Wextra -Werror -I ${path.join(ROOT, 'module')} -o ${output} ${sources}`;
  return output;
}
