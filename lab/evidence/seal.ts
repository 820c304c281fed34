// SPDX-License-Identifier: MIT
/**
 * A sealed package of a run, for another lab: a tar archive that holds the run's folder and
 *
 *   SEAL/MANIFEST.sha256   every other file, as sha256sum prints it
 *   SEAL/MANIFEST.sig      Ed25519 signature of that, by the lab's key
 *   SEAL/lab-key.pub.pem   its public half
 *   SEAL/check.sh          checks all of it with coreutils and openssl alone
 */
import { sign } from 'node:crypto';
import { copyFile, mkdir, mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../proc/tool.js';
import { ioError, LabError } from '../util/errors.js';
import { CHAIN_FILE, CUSTODY_FILE, evidenceFiles, fileEntry, stampFiles } from './files.js';
import { labKey, publicPem } from './keys.js';

/** sha256sum writes names that hold these in another way, which check.sh would have to undo. */
const ESCAPED = /[\\\n\r]/;

export interface SealOptions {
  /** Folder of the run, whose chain is closed. */
  readonly dir: string;
  readonly dataDir: string;
  /** `F.tar`, or `F.tar.zst`. */
  readonly output: string;
  readonly digest: (file: string) => Promise<string>;
  readonly signal: AbortSignal;
}

/** Says what is wrong with names before anything is done: `dir` may be any folder's path. */
export function checkPackageNames(dir: string, output: string): void {
  const run = path.basename(dir);
  if (!/\.tar(\.zst)?$/.test(output))
    throw new LabError('LAB_USAGE', `${output}: a package ends in .tar or .tar.zst`, { next: 'choose such a name' });
  if (run === 'SEAL')
    throw new LabError('LAB_USAGE', "a run called SEAL can't lie beside the folder SEAL of a package", {
      next: 'give its folder another name',
    });
  if (!/^[A-Za-z0-9][\w.+-]*$/.test(run))
    throw new LabError('LAB_USAGE', `'${run}' can't be the name of the folder in a package`, {
      next: 'give it one of letters, digits and _ . + -, beginning with a letter or digit',
    });
}

/** Writes the package; it appears under its name only when it is whole. */
export async function writePackage(options: SealOptions): Promise<void> {
  const { dir, dataDir, digest, signal } = options;
  const output = path.resolve(options.output);
  const draft = `${output}.part`;
  let staging: string | undefined;
  try {
    await mkdir(path.dirname(output), { recursive: true });
    staging = await mkdtemp(`${output}.`);
    await mkdir(path.join(staging, 'SEAL'));
    const name = path.basename(dir);
    const lab = await labKey(dataDir);
    await writeFile(path.join(staging, 'SEAL/lab-key.pub.pem'), publicPem(lab.spki));
    await copyFile(path.join(import.meta.dirname, 'check.sh'), path.join(staging, 'SEAL/check.sh'));
    const files = [...(await evidenceFiles(dir)), ...(await stampFiles(dir)), CHAIN_FILE, CUSTODY_FILE].sort();
    const list: string[] = [];
    for (const file of files) {
      signal.throwIfAborted();
      if (ESCAPED.test(file))
        throw new LabError('LAB_RUN_CORRUPT', `${JSON.stringify(file)} in ${dir}: no name that a package can list`, {
          next: 'no run of ours has such a file: remove it, and note that by ./lemona custody --note',
        });
      list.push(`${(await fileEntry(dir, file, digest)).sha256}  ${name}/${file}\n`);
    }
    for (const file of ['SEAL/check.sh', 'SEAL/lab-key.pub.pem'])
      list.push(`${(await fileEntry(staging, file, digest)).sha256}  ${file}\n`);
    const manifest = Buffer.from(list.join(''));
    await writeFile(path.join(staging, 'SEAL/MANIFEST.sha256'), manifest);
    await writeFile(path.join(staging, 'SEAL/MANIFEST.sig'), sign(null, manifest, lab.privateKey));
    // Every file by its name: nothing else gets in.
    await runTool(
      [
        ...(['tar', '--create', '--sparse', '--numeric-owner', `--file=${draft}`] as const),
        ...(output.endsWith('.zst') ? ['--zstd'] : []),
        ...['--no-recursion', '-C', path.dirname(dir), '--null', '--verbatim-files-from', '--files-from=-'],
        ...['--recursion', '-C', staging, 'SEAL'],
      ],
      { signal, input: files.map((file) => `${name}/${file}`).join('\0') },
    );
    await rename(draft, output);
  } catch (error) {
    throw ioError(`sealing ${dir} into ${output}`, error);
  } finally {
    await rm(draft, { force: true });
    if (staging !== undefined) await rm(staging, { recursive: true, force: true });
  }
}
