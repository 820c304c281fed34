// SPDX-License-Identifier: MIT
/**
 * Builds the guest kernel into the cache.
 *
 *   kernel/src-<source>/src      one source tree for all flavours, patched in place
 *   kernel/src-<source>/build    one build tree for all flavours, but for those
 *                                whose options reach every object: build-debug,
 *                                build-traceable and build-replay; make's own
 *                                dependencies share the objects
 *   kernel/<digest>/<flavour>/   results: bzImage, vmlinux, System.map, config,
 *                                lemona.ko (m, debug-m), kmemleak-test.ko (debug-m), text.json (n, vanilla), build.json
 *
 * The digest covers the source, the patches, the driver, the configuration
 * and the compiler. A result that exists is finished: it is renamed into place.
 */
import { createHash } from 'node:crypto';
import { copyFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import type { LabContext } from '../lab/util/context.js';
import { ioError, LabError } from '../lab/util/errors.js';
import { withLock } from '../lab/util/lock.js';
import { countObjects, linkedObjects, textOfTree } from './elf-tree.js';
import { formatConfig, mergeConfigs, parseConfig, unmet } from './kconfig.js';
import { make } from './make.js';
import { applySeries, type Patch, readDriver, readSeries, settle, syncDriver } from './series.js';
import { findSource, type KernelSource, SOURCE_PACKAGE, unpackSource } from './source.js';

export const FLAVOURS = ['vanilla', 'n', 'm', 'y', 'debug', 'debug-m', 'traceable', 'replay'] as const;
export type Flavour = (typeof FLAVOURS)[number];

/** Raised when the same inputs would give other results. */
const RECIPE = 1;

const HERE = import.meta.dirname;
const FRAGMENTS: Record<Flavour, readonly string[]> = {
  vanilla: ['base'],
  n: ['base', 'n'],
  m: ['base', 'm'],
  y: ['base', 'y'],
  debug: ['base', 'y', 'debug'],
  'debug-m': ['base', 'm', 'debug', 'leak'],
  traceable: ['base', 'n', 'traceable'],
  replay: ['replay', 'y'],
};

/** Beside what the kernel's own Makefile says. An emulator is slow at calls: the fewer, the better. */
const EXTRA_CFLAGS: Partial<Record<Flavour, string>> = { replay: '-O3' };

const hasModule = (flavour: Flavour) => FRAGMENTS[flavour].includes('m');
const hasLeak = (flavour: Flavour) => FRAGMENTS[flavour].includes('leak');

/** Fragments that change every object: what has one gets a build tree of its own. */
const OWN_TREE = ['debug', 'traceable', 'replay'];

function buildFolder(flavour: Flavour): string {
  const own = FRAGMENTS[flavour].find((name) => OWN_TREE.includes(name));
  return own === undefined ? 'build' : `build-${own}`;
}

export type BuildContext = Pick<LabContext, 'log' | 'progress' | 'signal' | 'cacheDir'>;

export interface KernelBuild {
  readonly flavour: Flavour;
  readonly digest: string;
  readonly release: string;
  readonly bzImage: string;
  readonly vmlinux: string;
  readonly systemMap: string;
  /** lemona.ko, only of flavours m and debug-m. */
  readonly module: string | null;
  /** A module that forgets memory, only of debug-m. */
  readonly leak: string | null;
  /** Digests of all machine code, only of vanilla and n: see check-text.ts. */
  readonly text: string | null;
  readonly sourceVersion: string;
}

interface Fragment {
  readonly name: string;
  readonly text: string;
}

/** Everything that decides the result. */
interface Inputs {
  readonly flavour: Flavour;
  readonly source: KernelSource;
  readonly compiler: string;
  readonly fragments: readonly Fragment[];
  readonly patches: readonly Patch[];
  readonly driver: ReadonlyMap<string, Buffer>;
}

async function readInputs(flavour: Flavour, ctx: BuildContext): Promise<Inputs> {
  const source = await findSource(ctx);
  const fragments: Fragment[] = [];
  for (const name of FRAGMENTS[flavour]) {
    const file = `${name}.config`;
    fragments.push({ name: file, text: await readFile(path.join(HERE, 'config', file), 'utf8') });
  }
  return {
    flavour,
    source,
    compiler: (await runTool(['gcc', '--version'])).split('\n')[0] ?? 'unknown',
    fragments,
    patches: flavour === 'vanilla' ? [] : await readSeries(path.join(HERE, 'patches')),
    driver: flavour === 'vanilla' ? new Map() : await readDriver(path.join(HERE, '../module')),
  };
}

/** The digest the results are filed under. Pure. */
export function digestOf(inputs: Inputs): string {
  const hash = createHash('sha256');
  const add = (label: string, bytes: string | Buffer) => {
    // Each part with its length: no two different lists of parts give the same bytes.
    hash.update(`${label} ${Buffer.byteLength(bytes)}\n`).update(bytes);
  };
  add('recipe', `${RECIPE}`);
  add('source', inputs.source.digest);
  add('compiler', inputs.compiler);
  add('flags', EXTRA_CFLAGS[inputs.flavour] ?? '');
  for (const { name, text } of inputs.fragments) add(`fragment ${name}`, text);
  for (const { name, text } of inputs.patches) add(`patch ${name}`, text);
  for (const [name, bytes] of inputs.driver) add(`driver ${name}`, bytes);
  return hash.digest('hex');
}

function resultFolder(ctx: BuildContext, inputs: Inputs, digest: string): string {
  return path.join(ctx.cacheDir, 'kernel', digest.slice(0, 16), inputs.flavour);
}

interface BuildRecord {
  readonly flavour: Flavour;
  readonly digest: string;
  readonly release: string;
  readonly source: KernelSource;
  readonly compiler: string;
  readonly patches: readonly string[];
  /** Objects the kernel is linked from, and how many objects of them this build compiled. */
  readonly objects: number;
  readonly compiled: number;
  readonly seconds: number;
}

async function readResult(folder: string, digest: string): Promise<KernelBuild | undefined> {
  const text = await readFile(path.join(folder, 'build.json'), 'utf8').catch(() => undefined);
  if (text === undefined) return undefined;
  const record = JSON.parse(text) as BuildRecord;
  if (record.digest !== digest) return undefined;
  const { flavour } = record;
  return {
    flavour,
    digest,
    release: record.release,
    bzImage: path.join(folder, 'bzImage'),
    vmlinux: path.join(folder, 'vmlinux'),
    systemMap: path.join(folder, 'System.map'),
    module: hasModule(flavour) ? path.join(folder, 'lemona.ko') : null,
    leak: hasLeak(flavour) ? path.join(folder, 'kmemleak-test.ko') : null,
    text: flavour === 'n' || flavour === 'vanilla' ? path.join(folder, 'text.json') : null,
    sourceVersion: record.source.version,
  };
}

/** The result if it is in the cache already; builds nothing. */
export async function cachedKernel(flavour: Flavour, ctx: BuildContext): Promise<KernelBuild | undefined> {
  const inputs = await readInputs(flavour, ctx);
  const digest = digestOf(inputs);
  return readResult(resultFolder(ctx, inputs, digest), digest);
}

/** Brings the build tree's .config to tinyconfig + fragments, and checks that every line took. */
async function configure(inputs: Inputs, source: string, build: string, signal: AbortSignal): Promise<void> {
  const scratch = path.join(build, '.lemona-config');
  const variables = [`KCONFIG_CONFIG=${scratch}`];
  const tinyFile = path.join(path.dirname(build), 'tiny.config');
  // Asking the compiler for all it can do takes its time: tinyconfig is asked for once per source.
  if ((await stat(tinyFile).catch(() => undefined)) === undefined) {
    await rm(scratch, { force: true });
    await make({ source, build, targets: ['tinyconfig'], variables, signal });
    await rename(scratch, tinyFile);
  }
  const tiny = parseConfig(await readFile(tinyFile, 'utf8'), 'tinyconfig');
  const wanted = mergeConfigs(...inputs.fragments.map(({ name, text }) => parseConfig(text, name)));
  await writeFile(scratch, formatConfig(mergeConfigs(tiny, wanted)));
  await make({ source, build, targets: ['olddefconfig'], variables, signal });
  const got = await readFile(scratch);
  const problems = unmet(wanted, parseConfig(got.toString('utf8'), scratch));
  if (problems.length > 0) {
    throw new LabError(
      'LAB_KERNEL_BUILD',
      `${problems.length} wanted settings of ${FRAGMENTS[inputs.flavour].join(' + ')} were not taken by ` +
        `${SOURCE_PACKAGE} ${inputs.source.version}:\n  ${problems.join('\n  ')}`,
      { next: 'give the symbols what they depend on, or take them out of guest-kernel/config/' },
    );
  }
  await settle(path.join(build, '.config'), got);
  for (const name of [scratch, `${scratch}.old`]) await rm(name, { force: true });
}

/** Objects of the last complete build of this tree: what percent are counted against. */
async function lastTotal(file: string): Promise<number | undefined> {
  const total = Number(await readFile(file, 'utf8').catch(() => ''));
  return total > 0 ? total : undefined;
}

async function buildLocked(inputs: Inputs, digest: string, root: string, ctx: BuildContext): Promise<KernelBuild> {
  const { flavour } = inputs;
  const folder = resultFolder(ctx, inputs, digest);
  const done = await readResult(folder, digest);
  if (done !== undefined) return done;

  const started = Date.now();
  const source = path.join(root, 'src');
  const build = path.join(root, buildFolder(flavour));
  await mkdir(build, { recursive: true });
  const sourceName = `${SOURCE_PACKAGE} ${inputs.source.version}`;
  const patched = await applySeries({ root, patches: inputs.patches, sourceName });
  // Vanilla's Kconfig does not know the driver's folder; leaving it keeps its objects for the next flavour.
  const driven = flavour === 'vanilla' ? [] : await syncDriver(source, inputs.driver);
  ctx.log.debug(`source tree: ${patched.length} patched and ${driven.length} driver files changed`);

  const step = ctx.progress.step(`building the kernel, flavour ${flavour}`);
  try {
    step.update('configuring');
    await configure(inputs, source, build, ctx.signal);
    const totalFile = path.join(build, '.lemona-total');
    const before = await countObjects(build);
    const total = await lastTotal(totalFile);
    const compiled = await make({
      source,
      build,
      targets: hasModule(flavour) ? ['bzImage', 'modules'] : ['bzImage'],
      variables: [`KCFLAGS=${EXTRA_CFLAGS[flavour] ?? ''}`],
      signal: ctx.signal,
      step,
      // A tree that is complete but for what changed has no known number of steps.
      ...(total === undefined || before >= total ? {} : { total, before }),
    });
    step.update('collecting');
    const objects = await linkedObjects(build);
    await writeFile(totalFile, `${await countObjects(build)}\n`);

    const partial = `${folder}.partial`;
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const copies: [string, string][] = [
      ['arch/x86/boot/bzImage', 'bzImage'],
      ['vmlinux', 'vmlinux'],
      ['System.map', 'System.map'],
      ['.config', 'config'],
    ];
    if (hasModule(flavour)) copies.push(['drivers/lemona/lemona.ko', 'lemona.ko']);
    if (hasLeak(flavour)) copies.push(['samples/kmemleak/kmemleak-test.ko', 'kmemleak-test.ko']);
    for (const [from, to] of copies) await copyFile(path.join(build, from), path.join(partial, to));
    if (flavour === 'n' || flavour === 'vanilla') {
      const text = await textOfTree(build, objects);
      await writeFile(path.join(partial, 'text.json'), `${JSON.stringify(text)}\n`);
    }
    const record: BuildRecord = {
      flavour,
      digest,
      release: (await readFile(path.join(build, 'include/config/kernel.release'), 'utf8')).trim(),
      source: inputs.source,
      compiler: inputs.compiler,
      patches: inputs.patches.map(({ name }) => name),
      objects: objects.length,
      compiled,
      seconds: Math.round((Date.now() - started) / 1000),
    };
    await writeFile(path.join(partial, 'build.json'), `${JSON.stringify(record, null, 2)}\n`);
    await rm(folder, { recursive: true, force: true });
    await rename(partial, folder);
    step.done(`${record.release}, ${compiled} objects compiled, ${objects.length} linked`);
  } catch (error) {
    step.fail();
    throw error;
  }
  const result = await readResult(folder, digest);
  if (result === undefined) throw new LabError('LAB_BUG', `the kernel was built, but ${folder} cannot be read back`);
  return result;
}

/**
 * The kernel of one flavour, from the cache or built now. An interrupted
 * build continues where it stopped; two processes wait for each other.
 */
export async function buildKernel<F extends Flavour>(
  flavour: F,
  ctx: BuildContext,
): Promise<KernelBuild & { readonly flavour: F }> {
  const inputs = await readInputs(flavour, ctx);
  const digest = digestOf(inputs);
  const done = await readResult(resultFolder(ctx, inputs, digest), digest);
  if (done !== undefined) return { ...done, flavour };
  if (!inputs.source.tested) {
    ctx.log.warn(`the series was not tested with ${SOURCE_PACKAGE} ${inputs.source.version}: trying it`);
  }
  const lock = path.join(ctx.cacheDir, 'kernel/lock');
  const step = ctx.progress.step('kernel cache');
  try {
    return await withLock(lock, { signal: ctx.signal, onWait: (state) => step.update(state) }, async () => {
      step.done('locked');
      const root = await unpackSource(ctx, inputs.source);
      return { ...(await buildLocked(inputs, digest, root, ctx)), flavour };
    });
  } catch (error) {
    step.fail();
    throw error instanceof LabError ? error : ioError(`building the kernel under ${ctx.cacheDir}`, error);
  }
}
