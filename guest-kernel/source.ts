// SPDX-License-Identifier: MIT
/** Debian's kernel source: found, identified, unpacked once into the cache. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import type { LabContext } from '../lab/util/context.js';
import { ioError, LabError } from '../lab/util/errors.js';

export const SOURCE_PACKAGE = 'linux-source-6.12';
const TARBALL = '/usr/src/linux-source-6.12.tar.xz';

/** Point releases the series was tested with. Another one is tried too: what does not fit is said by name. */
const TESTED: ReadonlyMap<string, string> = new Map([
  ['585a4a074597aefa2b1a68ada83a3184ba351c127544dea80618bbcceaa3961f', '6.12.117-1~deb12u1'],
]);

/** Big, and nothing of it is ever compiled here. */
const EXCLUDE = ['*/arch/arm/boot/dts/*', '*/arch/arm64/boot/dts/*', '*/drivers/gpu/drm/amd/include/asic_reg/*'];

export interface KernelSource {
  readonly tarball: string;
  /** sha256 of the tarball. */
  readonly digest: string;
  /** Debian's version of the package, or `unknown`. */
  readonly version: string;
  readonly tested: boolean;
}

async function hashFile(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1 << 20 })) hash.update(chunk as Buffer);
  return hash.digest('hex');
}

interface Remembered {
  readonly size: number;
  readonly mtimeMs: number;
  readonly digest: string;
}

/** The digest, remembered by size and time: hashing 150 MB on every run would be felt. */
async function digestOf(tarball: string, memory: string): Promise<string> {
  const { size, mtimeMs } = await stat(tarball);
  try {
    const seen = JSON.parse(await readFile(memory, 'utf8')) as Remembered;
    if (seen.size === size && seen.mtimeMs === mtimeMs) return seen.digest;
  } catch {
    // Not there yet, or half-written: hash it again.
  }
  const digest = await hashFile(tarball);
  await writeFile(memory, `${JSON.stringify({ size, mtimeMs, digest } satisfies Remembered)}\n`);
  return digest;
}

export async function findSource(ctx: Pick<LabContext, 'cacheDir'>): Promise<KernelSource> {
  try {
    await stat(TARBALL);
  } catch (error) {
    throw new LabError('LAB_ENV_MISSING', `the kernel source ${TARBALL} is not there`, {
      cause: error,
      next: `install the Debian package ${SOURCE_PACKAGE}`,
    });
  }
  await mkdir(path.join(ctx.cacheDir, 'kernel'), { recursive: true });
  const digest = await digestOf(TARBALL, path.join(ctx.cacheDir, 'kernel/source.json'));
  const version = await runTool(['dpkg-query', '-W', '-f', '${' + 'Version}', SOURCE_PACKAGE]).catch(() => 'unknown');
  return { tarball: TARBALL, digest, version, tested: TESTED.has(digest) };
}

/** Folder of everything made from one source: `src/`, `build/`, `pristine/`. */
export function sourceRoot(ctx: Pick<LabContext, 'cacheDir'>, source: KernelSource): string {
  return path.join(ctx.cacheDir, 'kernel', `src-${source.digest.slice(0, 16)}`);
}

/** Unpacks the source to `<root>/src`, once. */
export async function unpackSource(
  ctx: Pick<LabContext, 'cacheDir' | 'progress' | 'signal'>,
  source: KernelSource,
): Promise<string> {
  const root = sourceRoot(ctx, source);
  const tree = path.join(root, 'src');
  if ((await stat(tree).catch(() => undefined)) !== undefined) return root;
  const step = ctx.progress.step(`unpacking ${SOURCE_PACKAGE} ${source.version}`);
  const partial = path.join(root, 'src.partial');
  try {
    await rm(partial, { recursive: true, force: true });
    await mkdir(partial, { recursive: true });
    const exclude = EXCLUDE.map((pattern) => `--exclude=${pattern}`);
    await runTool(
      ['tar', '-x', '-f', source.tarball, '-I', 'xz -T0', '-C', partial, '--strip-components=1', ...exclude],
      { signal: ctx.signal },
    );
    await rename(partial, tree);
  } catch (error) {
    step.fail();
    await rm(partial, { recursive: true, force: true });
    throw ioError(`unpacking ${source.tarball} to ${tree}`, error);
  }
  step.done();
  return root;
}
