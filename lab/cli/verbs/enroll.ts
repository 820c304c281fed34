// SPDX-License-Identifier: MIT
import { rm } from 'node:fs/promises';
import { keyFromPassphrase } from '../../link/machine-key.js';
import {
  enrollMachine,
  keyOfFile,
  MODE_CHOICES,
  type ModeChoice,
  machineDir,
  makePoint,
  pointFolderAt,
} from '../../server/point.js';
import { exitStatusOf, LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';
import { readPassphrase } from '../passphrase.js';

/** A short one is guessed however slow the KDF is. */
const SHORTEST = 12;

async function askPassphrase(machine: string): Promise<Buffer> {
  const first = await readPassphrase(`passphrase of ${machine}: `);
  if (first.length < SHORTEST)
    throw new LabError('LAB_USAGE', `a passphrase of ${first.length} characters: at least ${SHORTEST} are wanted`, {
      next: 'type it, give it on stdin, or have a random key made by --key-file FILE',
    });
  if (process.stdin.isTTY && (await readPassphrase('once more: ')) !== first)
    throw new LabError('LAB_USAGE', 'the two passphrases differ');
  return keyFromPassphrase(machine, first);
}

/** `enroll`: makes a machine known to a storage point. */
export async function run(invocation: Invocation): Promise<number> {
  const { log } = invocation.context();
  const [dir, machine] = [invocation.operand(0), invocation.operand(1)];
  const mode = (Object.keys(MODE_CHOICES) as ModeChoice[]).find(
    (name) => name === (invocation.string('mode') ?? 'noise'),
  );
  if (mode === undefined) throw new LabError('LAB_BUG', 'the table of verbs has a mode that is not known');
  machineDir(pointFolderAt(dir), machine);
  const file = invocation.string('key-file');
  const { key, isNew } =
    file === undefined ? { key: await askPassphrase(machine), isNew: false } : await keyOfFile(file);
  let point: Awaited<ReturnType<typeof makePoint>>;
  try {
    point = await makePoint(dir);
    await enrollMachine(point, machine, key, mode, new Date(), invocation.bool('replace'));
  } catch (error) {
    // Where it was refused; where the disk failed the entry may be there, and the next try takes the same key.
    if (isNew && file !== undefined && exitStatusOf(error) !== 3) await rm(file, { force: true });
    throw error;
  }
  if (point.isNew) log.info(`a new storage point was made in ${point.dir}`);
  if (isNew) log.info(`a new key is in ${file}: bring it to the machine, where nobody else can read it`);
  log.info(`machine '${machine}' is enrolled in ${point.dir} (mode ${mode})`);
  return 0;
}
