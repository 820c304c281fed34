// SPDX-License-Identifier: MIT
/**
 * The native parts of the database, compiled at first use and cached: sqlite3's binding, which its npm package brings
 * as sources, and our extension. Node's own headers are used where they lie beside it, so that no network is needed.
 */
import { access, copyFile, cp, mkdir, readdir, readFile, rename, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { cached, cacheKey } from '../../images/cache.js';
import type { BuildContext } from '../../images/context.js';
import { runTool } from '../proc/tool.js';
import { ioError, LabError } from '../util/errors.js';
import { withStep } from '../util/progress.js';

const require = createRequire(import.meta.url);
const NEXT = 'install the packages make, g++ and python3';
const EXTENSION = path.join(import.meta.dirname, 'extension/batch.c');
/** Whose end SQLite takes for the name of the entry point. */
export const EXTENSION_NAME = 'lemona-batch.so';
const FLAGS = ['-shared', '-fPIC', '-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror'] as const;
const BINDING_NAME = 'node_sqlite3.node';

async function isThere(file: string): Promise<boolean> {
  return access(file).then(
    () => true,
    () => false,
  );
}

/** Where node-gyp finds Node's headers: beside this Node, or, with undefined, where it fetches them from. */
async function headersOfNode(): Promise<string | undefined> {
  const prefix = path.resolve(path.dirname(process.execPath), '..');
  return (await isThere(path.join(prefix, 'include/node/node_api.h'))) ? prefix : undefined;
}

interface Native {
  /** Path of the extension. */
  readonly extension: string;
}

/** By cache: a process asks once. */
const prepared = new Map<string, Promise<Native>>();

/** Compiles binding and extension into a folder of the cache, and puts the binding where its package looks for it. */
export function prepareBinding(ctx: BuildContext): Promise<Native> {
  let native = prepared.get(ctx.cacheDir);
  if (native === undefined) {
    native = prepare(ctx);
    prepared.set(ctx.cacheDir, native);
    native.catch(() => prepared.delete(ctx.cacheDir));
  }
  return native;
}

async function prepare(ctx: BuildContext): Promise<Native> {
  const sources = path.dirname(require.resolve('sqlite3/package.json'));
  const { version } = JSON.parse(await readFile(path.join(sources, 'package.json'), 'utf8')) as { version: string };
  const compiler = (await runTool(['g++', '--version'], { signal: ctx.signal, next: NEXT })).split('\n')[0] ?? '';
  const key = cacheKey([version, process.version, process.arch, compiler, FLAGS.join(' '), await readFile(EXTENSION)]);
  const folder = await cached({ area: 'tools', name: 'sqlite3', key }, ctx, (temporary) =>
    withStep(ctx.progress, 'compile sqlite3 (about a minute, once)', () => compile(sources, temporary, ctx)),
  );
  await install(path.join(folder, BINDING_NAME), path.join(sources, 'build/Release'));
  return { extension: path.join(folder, EXTENSION_NAME) };
}

async function compile(sources: string, folder: string, ctx: BuildContext): Promise<void> {
  const work = path.join(folder, 'work');
  await mkdir(folder);
  await cp(sources, work, { recursive: true, filter: (from) => path.basename(from) !== 'build' });
  const headers = await headersOfNode();
  const gyp = require.resolve('node-gyp/bin/node-gyp.js');
  const program = [process.execPath, gyp, 'rebuild', '--jobs=2'] as const;
  await runTool(headers === undefined ? program : [...program, `--nodedir=${headers}`], {
    cwd: work,
    signal: ctx.signal,
    env: {
      ...process.env,
      // Its scripts run `node`, and look for modules from where they are, which is not where the package was.
      PATH: `${path.dirname(process.execPath)}:${process.env.PATH}`,
      NODE_PATH: path.dirname(sources),
      // They stand behind Node's -O3, which takes nearly twice as long and gained nothing here.
      CFLAGS: '-O2',
      CXXFLAGS: '-O2',
    },
    next: headers === undefined ? `${NEXT}, and Node's headers (beside ${process.execPath})` : NEXT,
  });
  const generated = path.join(work, 'build/Release/obj/gen');
  const [amalgamation] = (await readdir(generated)).filter((name) => name.startsWith('sqlite-autoconf-'));
  if (amalgamation === undefined) throw new LabError('LAB_BUG', `${generated}: holds no sources of SQLite`);
  const include = path.join(generated, amalgamation);
  await runTool(['gcc', ...FLAGS, '-I', include, '-o', path.join(folder, EXTENSION_NAME), EXTENSION], {
    signal: ctx.signal,
    next: NEXT,
  });
  await rename(path.join(work, 'build/Release', BINDING_NAME), path.join(folder, BINDING_NAME));
  await rm(work, { recursive: true });
}

/** Copies the binding beside its name and renames, because others may load it at this moment. */
async function install(binding: string, target: string): Promise<void> {
  const final = path.join(target, BINDING_NAME);
  try {
    const wanted = await readFile(binding);
    const seen = await readFile(final).catch(() => undefined);
    if (seen?.equals(wanted) === true) return;
    await mkdir(target, { recursive: true });
    const temporary = `${final}.${process.pid}`;
    await copyFile(binding, temporary);
    await rename(temporary, final);
  } catch (error) {
    throw ioError(`installing ${final}`, error);
  }
}
