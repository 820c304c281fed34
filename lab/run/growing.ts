// SPDX-License-Identifier: MIT
import { isChainClosed, isChainHeld } from '../evidence/chain.js';
import { runFolderAt } from './folder.js';
import { isRecorded, readManifest } from './manifest.js';

/**
 * Whether something may still be added to the record in a folder. Of a run that `record` makes, while its process lives;
 * of a boot that a server received, until the machine has said that it was all, or its chain is closed: a machine that is
 * silent may come again.
 * @param otherwise of a folder that holds no run.json
 */
export async function mayGrow(dir: string, otherwise: boolean): Promise<boolean> {
  const manifest = await readManifest(runFolderAt(dir).manifestFile);
  if (manifest === undefined) return otherwise;
  if (manifest.state !== 'recording') return false;
  return isRecorded(manifest) ? isChainHeld(dir) : !(await isChainClosed(dir));
}
