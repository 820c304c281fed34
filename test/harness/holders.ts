// SPDX-License-Identifier: MIT
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';

/** All files below a folder that hold one of the texts or byte strings; disks are left out, where they may be on purpose. */
export async function holdersOf(folder: string, secrets: readonly (string | Buffer)[]): Promise<string[]> {
  const holders: string[] = [];
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    const file = path.join(entry.parentPath, entry.name);
    if (!entry.isFile() || file.endsWith('.qcow2')) continue;
    const bytes = await readFile(file);
    if (secrets.some((secret) => bytes.includes(secret))) holders.push(file);
  }
  return holders;
}
