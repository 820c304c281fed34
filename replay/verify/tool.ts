// SPDX-License-Identifier: MIT
/** The host tool that reads ext4 images, compiled at first use and cached by its sources and compiler. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { cached, cacheKey } from '../../images/cache.js';
import type { BuildContext } from '../../images/context.js';
import { runTool } from '../../lab/proc/tool.js';
import { withStep } from '../../lab/util/progress.js';

const FOLDER = path.dirname(fileURLToPath(import.meta.url));
const SOURCES = ['manifest.c', 'content.c', 'mask.c', 'text.c', 'walk.c', 'xattrs.c'].map((name) =>
  path.join(FOLDER, name),
);
const HEADERS = ['manifest.h', 'mask.h', 'text.h'].map((name) => path.join(FOLDER, name));
const FLAGS = ['-O2', '-std=gnu17', '-Wall', '-Wextra', '-Werror'] as const;
const LIBRARIES = ['-lext2fs', '-lcom_err', '-lcrypto'] as const;
const NEXT = 'install the packages gcc, libc6-dev, libext2fs-dev and libssl-dev';

/** Path of lemona-manifest. */
export async function buildManifestTool(ctx: BuildContext): Promise<string> {
  const compiler = (await runTool(['gcc', '--version'], { signal: ctx.signal, next: NEXT })).split('\n')[0] ?? '';
  const inputs = await Promise.all([...SOURCES, ...HEADERS].map((file) => readFile(file)));
  const key = cacheKey([compiler, FLAGS.join(' '), LIBRARIES.join(' '), ...inputs]);
  return cached({ area: 'tools', name: 'lemona-manifest', key }, ctx, (temporary) =>
    withStep(ctx.progress, 'compile lemona-manifest', async () => {
      await runTool(['gcc', ...FLAGS, '-o', temporary, ...SOURCES, ...LIBRARIES], { signal: ctx.signal, next: NEXT });
    }),
  );
}
