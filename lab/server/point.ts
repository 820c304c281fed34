// SPDX-License-Identifier: MIT
/**
 * The folder of a storage point:
 *
 *   server.json                  its identity
 *   machines/NAME/machine.json   a machine it takes records of, and its key: mode 0600
 *   machines/NAME/boots/BOOT/    one run folder for each boot: run.json and segments/
 *   status.sock                  while the server runs: what `status` asks
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { z } from 'zod';
import { WIRE_KEY_BYTES } from '../abi/wire.js';
import { type BootId, bootName } from '../link/boots.js';
import { isMachineName } from '../link/machine-key.js';
import { MODE } from '../link/wire.js';
import type { Machine } from '../link/wire-opening.js';
import { type AnyManifest, isRecorded, readManifest, writeAtomically } from '../run/manifest.js';
import { ioError, LabError, messageOf, systemCodeOf } from '../util/errors.js';

const identitySchema = z.object({ format: z.literal(1), server: z.string().regex(/^[0-9a-f]{16}$/) });

/** Which modes a machine may use. Plain traffic can be forged by whoever sits on the way, so it has to be allowed. */
export const MODE_CHOICES = {
  noise: [MODE.NOISE],
  plain: [MODE.PLAIN],
  any: [MODE.NOISE, MODE.PLAIN],
} as const satisfies Record<string, readonly number[]>;
export type ModeChoice = keyof typeof MODE_CHOICES;

const machineSchema = z.object({
  format: z.literal(1),
  machine: z.string(),
  key: z.string().regex(/^[0-9a-f]{64}$/),
  mode: z.enum(['noise', 'plain', 'any']),
  /** ISO time. */
  enrolled: z.string(),
});

const MACHINE_FILE = 'machine.json';
const BOOTS = 'boots';

export interface PointFolder {
  readonly dir: string;
  readonly identityFile: string;
  readonly machinesDir: string;
  readonly socketFile: string;
}

export function pointFolderAt(dir: string): PointFolder {
  const absolute = path.resolve(dir);
  return {
    dir: absolute,
    identityFile: path.join(absolute, 'server.json'),
    machinesDir: path.join(absolute, 'machines'),
    socketFile: path.join(absolute, 'status.sock'),
  };
}

async function readJson(file: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT') return undefined;
    throw ioError(`reading ${file}`, error);
  }
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new LabError('LAB_RUN_CORRUPT', `${file} is not JSON`, { cause: error });
  }
}

/** A storage point that is there, with its identity as 16 hexadecimal digits. */
export async function openPoint(dir: string): Promise<PointFolder & { readonly server: string }> {
  const folder = pointFolderAt(dir);
  const value = await readJson(folder.identityFile);
  if (value === undefined)
    throw new LabError('LAB_RUN_UNKNOWN', `there is no storage point in ${folder.dir} (no server.json)`, {
      next: 'see that the path is right; `enroll DIR MACHINE` makes one, and `server DIR --make`',
    });
  const parsed = identitySchema.safeParse(value);
  if (!parsed.success) throw new LabError('LAB_RUN_CORRUPT', `${folder.identityFile} is not a server's of format 1`);
  return { ...folder, server: parsed.data.server };
}

/** What a folder may hold that a storage point is made in: the root of a file system is empty too; a draft of our own. */
const MAY_BE_THERE: ReadonlySet<string> = new Set(['lost+found', 'server.json.draft']);

/** Opens a storage point, and makes it if the folder is empty or not there; `isNew`: it did. */
export async function makePoint(
  dir: string,
): Promise<PointFolder & { readonly server: string; readonly isNew: boolean }> {
  const folder = pointFolderAt(dir);
  let isNew = false;
  try {
    await mkdir(folder.dir, { recursive: true });
    const names = await readdir(folder.dir);
    isNew = !names.includes(path.basename(folder.identityFile));
    const [other] = isNew ? names.filter((name) => !MAY_BE_THERE.has(name)) : [];
    if (other !== undefined)
      throw new LabError('LAB_RUN_STATE', `${folder.dir} holds ${other}, and no server.json: it is no storage point`, {
        next: 'name another folder, or one that is empty; if a storage point was there, bring its server.json back',
      });
    if (isNew) {
      const identity = { format: 1, server: randomBytes(8).toString('hex') };
      await writeAtomically(folder.identityFile, `${JSON.stringify(identity, null, 2)}\n`);
    }
    await mkdir(folder.machinesDir, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw ioError(`making the storage point ${folder.dir}`, error);
  }
  return { ...(await openPoint(dir)), isNew };
}

/** The folder of one machine. */
export function machineDir(folder: PointFolder, machine: string): string {
  if (!isMachineName(machine))
    throw new LabError('LAB_USAGE', `'${machine}' can't be a machine's name`, {
      next: 'use at most 64 of a-z 0-9 . _ -, beginning with a letter or digit',
    });
  return path.join(folder.machinesDir, machine);
}

/** The run folder of a boot. */
export function bootDir(folder: PointFolder, id: BootId): string {
  return path.join(machineDir(folder, id.machine), BOOTS, bootName(id));
}

/** Makes a machine known; gives one that is another key, or another mode, only if it `mayReplace`. */
export async function enrollMachine(
  folder: PointFolder,
  machine: string,
  key: Buffer,
  mode: ModeChoice,
  now: Date,
  mayReplace = false,
): Promise<void> {
  if (key.length !== WIRE_KEY_BYTES) throw new LabError('LAB_BUG', `a key of ${key.length} bytes`);
  const entry = { format: 1, machine, key: key.toString('hex'), mode, enrolled: now.toISOString() };
  const dir = machineDir(folder, machine);
  const known = await readEntry(folder, machine);
  const isSame = known === undefined || (known.key === entry.key && known.mode === mode);
  if (!isSame && !mayReplace) {
    const differs = known.key === entry.key ? `for mode ${known.mode}` : `with another key, for mode ${known.mode}`;
    throw new LabError(
      'LAB_RUN_STATE',
      `machine '${machine}' is enrolled in ${folder.dir} already, ${differs}, since ${known.enrolled}`,
      {
        next: 'give another machine another name; --replace gives this one the new key and mode, and refuses the old key',
      },
    );
  }
  try {
    await mkdir(path.join(dir, BOOTS), { recursive: true });
  } catch (error) {
    throw ioError(`making the folder ${dir}`, error);
  }
  await writeAtomically(path.join(dir, MACHINE_FILE), `${JSON.stringify(entry, null, 2)}\n`, 0o600);
}

async function readEntry(folder: PointFolder, machine: string): Promise<z.infer<typeof machineSchema> | undefined> {
  const file = path.join(machineDir(folder, machine), MACHINE_FILE);
  const value = await readJson(file);
  if (value === undefined) return undefined;
  const parsed = machineSchema.safeParse(value);
  if (!parsed.success || parsed.data.machine !== machine)
    throw new LabError('LAB_RUN_CORRUPT', `${file} is not a machine's entry of format 1`);
  return parsed.data;
}

/** Reads it each time: who is enrolled while the server runs is known at once. */
export async function findMachine(folder: PointFolder, machine: string): Promise<Machine | undefined> {
  const entry = await readEntry(folder, machine);
  return entry && { key: Buffer.from(entry.key, 'hex'), modes: MODE_CHOICES[entry.mode] };
}

/** A boot that is stored, as its run.json has it. */
export interface StoredBoot {
  readonly machine: string;
  readonly boot: string;
  readonly state: string;
  /** Why its run.json can't be read. */
  readonly problem?: string;
  /** Records that the machine declared lost, by what is here of it; undefined: nobody has put it away yet. */
  readonly dropped: string | undefined;
  /** Of ReceivedManifest. */
  readonly forked: string | undefined;
}

/** The boots of a machine. */
export async function listBoots(folder: PointFolder, machine: string): Promise<StoredBoot[]> {
  const boots = path.join(machineDir(folder, machine), BOOTS);
  const found: StoredBoot[] = [];
  for (const boot of (await readdir(boots).catch(() => [])).sort()) {
    let manifest: AnyManifest | undefined;
    try {
      manifest = await readManifest(path.join(boots, boot, 'run.json'));
    } catch (error) {
      // The others are to be seen all the same.
      const problem = messageOf(error);
      found.push({ machine, boot, state: 'unreadable', problem, dropped: undefined, forked: undefined });
    }
    if (manifest === undefined || isRecorded(manifest)) continue;
    const { dropped, forked } = manifest.received;
    found.push({ machine, boot, state: manifest.state, dropped, forked });
  }
  return found;
}

/** Names of all machines that are enrolled. */
export async function listMachines(folder: PointFolder): Promise<string[]> {
  const names = await readdir(folder.machinesDir).catch(() => []);
  return names.filter(isMachineName).sort();
}

/** A key file: 64 hexadecimal digits, readable by its owner alone; made with a random key if it is not there. */
export async function keyOfFile(file: string): Promise<{ readonly key: Buffer; readonly isNew: boolean }> {
  const fresh = randomBytes(WIRE_KEY_BYTES);
  try {
    const handle = await open(file, 'wx', 0o600);
    try {
      await handle.writeFile(`${fresh.toString('hex')}\n`);
      await handle.sync();
    } finally {
      await handle.close();
    }
    return { key: fresh, isNew: true };
  } catch (error) {
    if (systemCodeOf(error) !== 'EEXIST') throw ioError(`making the key file ${file}`, error);
  }
  return { key: await readKeyFile(file), isNew: false };
}

/** The key in a file that is there. */
export async function readKeyFile(file: string): Promise<Buffer> {
  const handle = await open(file, 'r').catch((error: unknown) => {
    throw ioError(`reading the key file ${file}`, error);
  });
  try {
    const { mode } = await handle.stat();
    if ((mode & 0o077) !== 0)
      throw new LabError(
        'LAB_ENV_PERMISSION',
        `the key file ${file} can be read by others (mode ${(mode & 0o777).toString(8)})`,
        {
          next: `chmod 600 ${file}`,
        },
      );
    const text = (await handle.readFile('latin1')).trim();
    if (!/^[0-9a-f]{64}$/i.test(text))
      throw new LabError('LAB_USAGE', `the key file ${file} holds no key: 64 hexadecimal digits are wanted`);
    return Buffer.from(text, 'hex');
  } finally {
    await handle.close();
  }
}
