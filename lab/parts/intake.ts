// SPDX-License-Identifier: MIT
/** The data path of the logging server, compiled at first use and cached by its sources and compiler. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { cached, cacheKey } from '../../images/cache.js';
import type { BuildContext } from '../../images/context.js';
import { runTool } from '../proc/tool.js';
import { withStep } from '../util/progress.js';

const FOLDER = path.join(import.meta.dirname, '../link/intake');
/** The generated headers of records and wire. */
const HEADERS = path.join(import.meta.dirname, '../../module');
const FLAGS = [
  ...['-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror'],
  ...['-fstack-protector-strong', '-D_FORTIFY_SOURCE=2', '-pthread'],
] as const;
/** Static: it begins in half the time, and a hundred of them share nearly all of their memory. */
const ALONE = ['-static', '-s'] as const;
const NEXT = 'install the packages gcc, libc6-dev and libssl-dev';

/** Path of lemona-intake; `more`: further flags of the compiler, in place of those for the linker. */
export async function buildIntake(ctx: BuildContext, more: readonly string[] = ALONE): Promise<string> {
  const compiler = (await runTool(['gcc', '--version'], { signal: ctx.signal, next: NEXT })).split('\n')[0] ?? '';
  const own = (await readdir(FOLDER)).sort().map((name) => path.join(FOLDER, name));
  const sources = own.filter((file) => file.endsWith('.c'));
  const shared = ['lemona_abi.h', 'lemona_wire.h'].map((name) => path.join(HEADERS, name));
  const flags = [...FLAGS, ...more];
  const inputs = await Promise.all([...own, ...shared].map((file) => readFile(file)));
  const key = cacheKey([compiler, flags.join(' '), ...inputs]);
  return cached({ area: 'tools', name: 'lemona-intake', key }, ctx, (temporary) =>
    withStep(ctx.progress, 'compile lemona-intake', async () => {
      await runTool(['gcc', ...flags, '-I', HEADERS, '-o', temporary, ...sources, '-lcrypto'], {
        signal: ctx.signal,
        next: NEXT,
      });
    }),
  );
}
