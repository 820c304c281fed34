// SPDX-License-Identifier: MIT
/**
 * The static C programs that run inside guests, compiled with the host's gcc
 * and cached by their sources, headers, flags and compiler version.
 */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTool } from '../lab/proc/tool.js';
import { LabError } from '../lab/util/errors.js';
import { withStep } from '../lab/util/progress.js';
import { cached, cacheKey } from './cache.js';
import type { BuildContext } from './context.js';

const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '..');

interface ToolRecipe {
  readonly program: string;
  /** Folder of the sources; all headers in it count as inputs. */
  readonly folder: string;
  /** Sources by name; undefined: every .c file of the folder. */
  readonly sources?: readonly string[];
  readonly libraries?: readonly string[];
}

export const TOOLS = {
  init: {
    program: 'lemona-init',
    folder: 'images/guest',
    sources: [
      'lemona-init.c',
      'child.c',
      'cmdline.c',
      'ctl.c',
      'driver.c',
      'forward.c',
      'mark.c',
      'port.c',
      'root.c',
      'say.c',
    ],
  },
  mark: { program: 'lemona-mark', folder: 'images/guest', sources: ['lemona-mark.c', 'mark.c', 'port.c', 'say.c'] },
  key: {
    program: 'lemona-key',
    folder: 'images/guest',
    sources: ['lemona-key.c', 'say.c'],
    // Stripped: most of it is libcrypto, and guests keep it in memory.
    libraries: ['-s', '-lcrypto'],
  },
  replay: { program: 'lemona-replay', folder: 'replay/agent' },
} as const satisfies Record<string, ToolRecipe>;

export type ToolName = keyof typeof TOOLS;

/** Static: an initramfs has no libraries, and the images' own may differ. */
const FLAGS = ['-static', '-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror'] as const;

/** The generated headers that every guest program may include. */
const HEADERS = 'module';

async function filesOf(folder: string, ending: string): Promise<string[]> {
  const names = await readdir(path.join(ROOT, folder)).catch(() => []);
  return names
    .filter((name) => name.endsWith(ending))
    .sort()
    .map((name) => path.join(folder, name));
}

async function sourcesOf(recipe: ToolRecipe): Promise<string[]> {
  const sources = recipe.sources?.map((name) => path.join(recipe.folder, name)) ?? (await filesOf(recipe.folder, '.c'));
  if (sources.length === 0) {
    throw new LabError('LAB_BUG', `${recipe.program}: no .c files in ${recipe.folder}`);
  }
  return sources;
}

async function compilerVersion(ctx: BuildContext): Promise<string> {
  const text = await runTool(['gcc', '--version'], {
    signal: ctx.signal,
    next: 'install the packages gcc and libc6-dev',
  });
  return text.split('\n')[0] ?? '';
}

/** Compiles one program, unless the cache has it. Returns its path. */
export async function buildGuestTool(name: ToolName, ctx: BuildContext): Promise<string> {
  const recipe: ToolRecipe = TOOLS[name];
  const sources = await sourcesOf(recipe);
  const headers = [...(await filesOf(recipe.folder, '.h')), ...(await filesOf(HEADERS, '.h'))];
  const inputs = [...sources, ...headers];
  const libraries = recipe.libraries ?? [];
  const parts: (string | Uint8Array)[] = [await compilerVersion(ctx), [...FLAGS, ...libraries].join(' ')];
  for (const input of inputs) parts.push(input, await readFile(path.join(ROOT, input)));
  return cached({ area: 'tools', name: recipe.program, key: cacheKey(parts) }, ctx, (temporary) =>
    withStep(ctx.progress, `compile ${recipe.program}`, async () => {
      await runTool(['gcc', ...FLAGS, '-I', HEADERS, '-o', temporary, ...sources, ...libraries], {
        cwd: ROOT,
        signal: ctx.signal,
        next: 'install the packages gcc, libc6-dev and libssl-dev, or report the compiler message',
      });
    }),
  );
}

/** All of them. */
export async function buildGuestTools(ctx: BuildContext): Promise<Record<ToolName, string>> {
  return {
    init: await buildGuestTool('init', ctx),
    key: await buildGuestTool('key', ctx),
    mark: await buildGuestTool('mark', ctx),
    replay: await buildGuestTool('replay', ctx),
  };
}
