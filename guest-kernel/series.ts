// SPDX-License-Identifier: MIT
/**
 * The patch series, applied without touching the tree until all of it fits.
 *
 * Invariants:
 * - The pristine text of every file that a patch ever touched is kept in
 *   `pristine/`; a path noted in `pristine.json` as absent is created by a patch.
 * - The series is applied in a scratch folder, to copies of the pristine files,
 *   with no fuzz. Only then is the tree brought to the result, and only files
 *   whose bytes differ are written. So a patch that does not fit leaves the
 *   tree as it was, an interruption is healed by the next run, and what did
 *   not change keeps its time, which is what make looks at.
 */
import { cp, mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { Child } from '../lab/proc/child.js';
import { LabError, systemCodeOf } from '../lab/util/errors.js';

export interface Patch {
  readonly name: string;
  readonly text: string;
}

/** Reads `series` (quilt's: one name a line, `#` starts a comment) and its patches. */
export async function readSeries(folder: string): Promise<Patch[]> {
  let list: string;
  try {
    list = await readFile(path.join(folder, 'series'), 'utf8');
  } catch (error) {
    throw new LabError('LAB_KERNEL_PATCH', `the patch series ${folder}/series cannot be read`, { cause: error });
  }
  const names = list
    .split('\n')
    .map((line) => line.replace(/(^|\s)#.*/, '').trim())
    .filter((line) => line !== '');
  const patches: Patch[] = [];
  for (const name of names) {
    try {
      patches.push({ name, text: await readFile(path.join(folder, name), 'utf8') });
    } catch (error) {
      throw new LabError('LAB_KERNEL_PATCH', `the series names the patch ${name}, which cannot be read`, {
        cause: error,
      });
    }
  }
  return patches;
}

/** The paths a patch touches, from its `---` and `+++` lines, without the first component. */
export function pathsOf(patch: Patch): string[] {
  const paths = new Set<string>();
  const lines = patch.text.split('\n');
  for (const [index, line] of lines.entries()) {
    const next = lines[index + 1];
    // A removed line that begins with `--` looks the same but for what follows.
    if (!line.startsWith('--- ') || next?.startsWith('+++ ') !== true) continue;
    for (const header of [line, next]) {
      const name = header.slice(4).split('\t')[0]?.trim() ?? '';
      if (name === '/dev/null') continue;
      const inner = name.split('/').slice(1).join('/');
      if (inner === '' || path.isAbsolute(inner) || inner.split('/').includes('..')) {
        throw new LabError('LAB_KERNEL_PATCH', `${patch.name}: the path '${name}' points out of the tree`);
      }
      paths.add(inner);
    }
  }
  return [...paths];
}

/** What `patch` said about the first hunk that failed. Pure. */
export function firstFailure(output: string): { readonly file: string; readonly hunk: string } {
  let file = '?';
  for (const line of output.split('\n')) {
    const entered = /^(?:patching|checking) file '?([^']+?)'?(?: \(.*\))?$/.exec(line);
    if (entered?.[1] !== undefined) file = entered[1];
    const failed = /^Hunk #(\d+) FAILED at (\d+)/.exec(line);
    if (failed !== null) return { file, hunk: `hunk ${failed[1]} (at line ${failed[2]})` };
    if (/^can't find file to patch|No file to patch/.test(line)) return { file, hunk: 'the file is missing' };
    if (/^Reversed \(or previously applied\)/.test(line)) return { file, hunk: 'it seems to be applied already' };
  }
  return { file, hunk: 'see the output of patch' };
}

async function runPatch(
  folder: string,
  patch: Patch,
): Promise<{ readonly code: number | null; readonly output: string }> {
  const child = await Child.spawn({
    label: 'patch',
    // POSIXLY_CORRECT would change how it names files; --posix is not given for the same reason.
    argv: ['patch', '-p1', '--fuzz=0', '--forward', '--batch', '--no-backup-if-mismatch', '--reject-file=-'],
    cwd: folder,
    env: { ...process.env, LC_ALL: 'C' },
    stdin: 'pipe',
    stdout: 'pipe',
  });
  child.stdin.end(patch.text);
  let output = '';
  for await (const chunk of child.stdout as AsyncIterable<Buffer>) output += chunk.toString('utf8');
  const exit = await child.exited;
  return { code: exit.code, output: output + child.outputTail() };
}

async function readOrUndefined(file: string): Promise<Buffer | undefined> {
  try {
    return await readFile(file);
  } catch (error) {
    if (systemCodeOf(error) === 'ENOENT' || systemCodeOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}

/** Brings one file to the wanted bytes (undefined: absent); true if it had to be changed. */
export async function settle(file: string, wanted: Buffer | undefined): Promise<boolean> {
  const seen = await readOrUndefined(file);
  if (wanted === undefined) {
    if (seen === undefined) return false;
    await rm(file);
    return true;
  }
  if (seen?.equals(wanted) === true) return false;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, wanted);
  return true;
}

/** The pristine side of a source tree. */
class Pristine {
  readonly #root: string;
  readonly #folder: string;
  readonly #known: Record<string, 'file' | 'absent'>;

  private constructor(root: string, known: Record<string, 'file' | 'absent'>) {
    this.#root = root;
    this.#folder = path.join(root, 'pristine');
    this.#known = known;
  }

  static async open(root: string): Promise<Pristine> {
    const text = await readOrUndefined(path.join(root, 'pristine.json'));
    const known = text === undefined ? {} : (JSON.parse(text.toString('utf8')) as Record<string, 'file' | 'absent'>);
    return new Pristine(root, known);
  }

  get paths(): string[] {
    return Object.keys(this.#known);
  }

  /** Saves what the tree holds now at paths not seen before: nobody has touched them yet. */
  async learn(tree: string, paths: readonly string[]): Promise<void> {
    const fresh = paths.filter((name) => !(name in this.#known));
    if (fresh.length === 0) return;
    for (const name of fresh) {
      const bytes = await readOrUndefined(path.join(tree, name));
      this.#known[name] = bytes === undefined ? 'absent' : 'file';
      if (bytes !== undefined) await settle(path.join(this.#folder, name), bytes);
    }
    await writeFile(path.join(this.#root, 'pristine.json'), `${JSON.stringify(this.#known, null, 1)}\n`);
  }

  async read(name: string): Promise<Buffer | undefined> {
    return this.#known[name] === 'file' ? readFile(path.join(this.#folder, name)) : undefined;
  }

  async copyTo(folder: string, paths: readonly string[]): Promise<void> {
    for (const name of paths) {
      if (this.#known[name] !== 'file') continue;
      await mkdir(path.dirname(path.join(folder, name)), { recursive: true });
      await cp(path.join(this.#folder, name), path.join(folder, name));
    }
  }
}

export interface ApplyRequest {
  /** Holds `src/` (the tree), `pristine/`, `pristine.json` and the scratch folder. */
  readonly root: string;
  readonly patches: readonly Patch[];
  /** Named in errors, such as `linux-source-6.12 6.12.117-1`. */
  readonly sourceName: string;
}

/** Brings `src/` to pristine + patches; returns the paths that had to be changed. */
export async function applySeries(request: ApplyRequest): Promise<string[]> {
  const { root, patches, sourceName } = request;
  const tree = path.join(root, 'src');
  const scratch = path.join(root, 'scratch');
  const pristine = await Pristine.open(root);
  const touched = [...new Set(patches.flatMap(pathsOf))];
  await pristine.learn(tree, touched);
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  try {
    await pristine.copyTo(scratch, touched);
    for (const [index, patch] of patches.entries()) {
      const { code, output } = await runPatch(scratch, patch);
      if (code === 0) continue;
      const { file, hunk } = firstFailure(output);
      throw new LabError(
        'LAB_KERNEL_PATCH',
        `patch ${index + 1} of ${patches.length}, ${patch.name}, does not apply to ${sourceName}: ` +
          `${hunk} of ${file}; the source tree is unchanged`,
        {
          cause: new Error(output.trim()),
          next: 'refresh that patch for this point release, or install the version named in guest-kernel/source.ts',
        },
      );
    }
    const changed: string[] = [];
    // A path no patch touches any more goes back to what it was.
    for (const name of new Set([...pristine.paths, ...touched])) {
      const wanted = touched.includes(name)
        ? await readOrUndefined(path.join(scratch, name))
        : await pristine.read(name);
      if (await settle(path.join(tree, name), wanted)) changed.push(name);
    }
    return changed;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

/** The driver's sources, by their path in `drivers/lemona/`. */
export async function readDriver(folder: string): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>();
  for (const name of (await readdir(folder)).sort()) {
    if (/\.[ch]$/.test(name) || ['Makefile', 'Kbuild', 'Kconfig'].includes(name)) {
      files.set(name, await readFile(path.join(folder, name)));
    }
  }
  return files;
}

/** Brings `drivers/lemona/` to exactly these files; returns those that had to be changed. */
export async function syncDriver(tree: string, files: ReadonlyMap<string, Buffer>): Promise<string[]> {
  const folder = path.join(tree, 'drivers/lemona');
  await mkdir(folder, { recursive: true });
  const changed: string[] = [];
  for (const name of new Set([...(await readdir(folder)), ...files.keys()])) {
    if (await settle(path.join(folder, name), files.get(name))) changed.push(name);
  }
  return changed;
}
