// SPDX-License-Identifier: MIT
/** Plugins of QEMU's emulator, compiled at first use. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheKey } from '../../images/cache.js';
import { runTool } from '../proc/tool.js';
import type { LabContext } from '../util/context.js';
import { withStep } from '../util/progress.js';

const FOLDER = path.join(import.meta.dirname, '../vm/plugins');
const HEADER = 'plugin.h';
const FLAGS = ['-shared', '-fPIC', '-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror', '-fvisibility=hidden'] as const;
const NEXT = 'install the packages gcc and libc6-dev';

/** Path of the plugin's shared object. */
export async function buildPlugin(name: 'witness' | 'counter', ctx: LabContext): Promise<string> {
  const source = path.join(FOLDER, `${name}.c`);
  const compiler = (await runTool(['gcc', '--version'], { signal: ctx.signal, next: NEXT })).split('\n')[0] ?? '';
  const sources = [await readFile(path.join(FOLDER, HEADER)), await readFile(source)];
  const key = cacheKey([compiler, FLAGS.join(' '), ...sources]);
  return cached({ area: 'tools', name: `lemona-${name}`, key, suffix: '.so' }, ctx, (temporary) =>
    withStep(ctx.progress, `compile lemona-${name}`, async () => {
      await runTool(['gcc', ...FLAGS, '-o', temporary, source], { signal: ctx.signal, next: NEXT });
    }),
  );
}
