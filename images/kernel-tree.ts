// SPDX-License-Identifier: MIT
/**
 * A Linux tree to be compiled in a guest: Debian's source as it is, configured as tinyconfig and prepared, as a tar. The
 * preparing is done here because emulated it would take longer than what is to be measured; the guest has the same
 * Debian, so that the tools made here run there, and make finds nothing of it out of date.
 */
import { mkdir, mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { make } from '../guest-kernel/make.js';
import { findSource, SOURCE_PACKAGE } from '../guest-kernel/source.js';
import { runTool } from '../lab/proc/tool.js';
import { withStep } from '../lab/util/progress.js';
import { cached, cacheKey, removeTree } from './cache.js';
import type { BuildContext } from './context.js';
import { IMAGE_EPOCH_S } from './recipes.js';

const METHOD = '1';

/** Drivers of which tinyconfig compiles nothing: their Makefile and Kconfig are read, their code never is. */
const DRIVERS_WITHOUT_CODE = [
  ...['accel', 'clk', 'comedi', 'crypto', 'dma', 'gpu', 'hid', 'hwmon', 'i2c', 'iio', 'infiniband', 'input', 'md'],
  ...['media', 'mfd', 'misc', 'mmc', 'mtd', 'net', 'phy', 'pinctrl', 'platform', 's390', 'scsi', 'soc', 'spi'],
  ...['staging', 'usb', 'video'],
];

const LEFT_OUT = [
  ...['Documentation/*.rst', 'Documentation/*.yaml', 'Documentation/*.txt', 'Documentation/*.svg'],
  ...['tools/perf/*', 'tools/testing/*', 'sound/*.[chS]'],
  // Other architectures than x86; Kconfig files of theirs are read.
  ...['[!x]*', 'xtensa'].flatMap((name) => [`arch/${name}/*.[chS]`, `arch/${name}/*.dts*`]),
  ...DRIVERS_WITHOUT_CODE.map((name) => `drivers/${name}/*.[chS]`),
];

const TARGETS = ['tinyconfig', 'prepare'] as const;

/** What decides its content. */
export async function kernelTreeKey(ctx: BuildContext): Promise<string> {
  const { digest } = await findSource(ctx);
  const compiler = (await runTool(['gcc', '--version'], { signal: ctx.signal })).split('\n')[0] ?? '';
  return cacheKey([METHOD, digest, compiler, LEFT_OUT.join(' '), TARGETS.join(' '), String(IMAGE_EPOCH_S)]);
}

/** Path of a tar of the tree as `./FOLDER`. */
export async function buildKernelTree(folder: string, ctx: BuildContext): Promise<string> {
  const source = await findSource(ctx);
  const key = cacheKey([await kernelTreeKey(ctx), folder]);
  return cached({ area: 'images', name: 'kernel-source', key, suffix: '.tar' }, ctx, (temporary) =>
    withStep(ctx.progress, `prepare ${SOURCE_PACKAGE} for a guest`, async (step) => {
      const root = await mkdtemp(path.join(tmpdir(), 'lemona-kernel-tree-'));
      const tree = path.join(root, folder);
      try {
        await mkdir(tree, { recursive: true });
        step.update('unpacking');
        const excludes = LEFT_OUT.map((pattern) => `--exclude=*/${pattern}`);
        await runTool(
          ['tar', '-x', '-f', source.tarball, '-I', 'xz -T0', '-C', tree, '--strip-components=1', ...excludes],
          { signal: ctx.signal },
        );
        for (const target of TARGETS)
          await make({ source: tree, build: tree, targets: [target], signal: ctx.signal, step });
        step.update('packing');
        // One time for all: nothing is older than what it is made of, and every build gives the same bytes.
        const same = [`--mtime=@${IMAGE_EPOCH_S}`, '--sort=name', '--owner=0', '--group=0', '--numeric-owner'];
        await runTool(['tar', '-c', '-f', temporary, '--format=gnu', ...same, '-C', root, `./${folder}`], {
          signal: ctx.signal,
        });
      } finally {
        await removeTree(root);
      }
    }),
  );
}
