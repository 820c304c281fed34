// SPDX-License-Identifier: MIT
/** What a witnessed run loads: the plugin, compiled at first use, and where its kernel's entry points lie. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheKey } from '../../images/cache.js';
import { runTool } from '../proc/tool.js';
import { ENTRY_POINTS, type EntryPoint, type WitnessParts } from '../run/witness.js';
import type { LabContext } from '../util/context.js';
import { ioError, LabError } from '../util/errors.js';
import { withStep } from '../util/progress.js';

const SOURCE = path.join(import.meta.dirname, '../vm/witness/witness.c');
const FLAGS = ['-shared', '-fPIC', '-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'] as const;
const NEXT = 'install the packages gcc and libc6-dev';

async function buildPlugin(ctx: LabContext): Promise<string> {
  const compiler = (await runTool(['gcc', '--version'], { signal: ctx.signal, next: NEXT })).split('\n')[0] ?? '';
  const key = cacheKey([compiler, FLAGS.join(' '), await readFile(SOURCE)]);
  return cached({ area: 'tools', name: 'lemona-witness', key, suffix: '.so' }, ctx, (temporary) =>
    withStep(ctx.progress, 'compile lemona-witness', async () => {
      await runTool(['gcc', ...FLAGS, '-o', temporary, SOURCE], { signal: ctx.signal, next: NEXT });
    }),
  );
}

/** Addresses of the entry points in the text of a System.map. Pure. */
export function entryPointsOf(map: string): Record<EntryPoint, string> {
  const addresses = new Map(
    map.split('\n').map((line) => {
      const [address = '', , name = ''] = line.split(' ');
      return [name, address] as const;
    }),
  );
  return Object.fromEntries(
    Object.entries(ENTRY_POINTS).map(([name, symbol]) => {
      const address = addresses.get(symbol);
      if (address === undefined) throw new LabError('LAB_KERNEL_BUILD', `the kernel's System.map has no ${symbol}`);
      return [name, address];
    }),
  ) as Record<EntryPoint, string>;
}

/** The addresses hold because the kernel's configuration has no RANDOMIZE_BASE. */
export async function witnessParts(kernel: { readonly systemMap: string }, ctx: LabContext): Promise<WitnessParts> {
  let map: string;
  try {
    map = await readFile(kernel.systemMap, 'utf8');
  } catch (error) {
    throw ioError(`reading ${kernel.systemMap}`, error);
  }
  return { plugin: await buildPlugin(ctx), entryPoints: entryPointsOf(map) };
}
