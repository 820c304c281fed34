// SPDX-License-Identifier: MIT
/**
 * Builds the images of guests: raw ext4 files in the cache, which nobody
 * changes; a run works on an overlay.
 *
 * The key of an image is its recipe, the versions of the tools that make it and
 * the bytes of lemona-mark (and of busybox). For `debian` it does not include
 * the state of the archive: an image that is there is used for as long as the
 * recipe stays, even when Debian publishes a new version of a package. The
 * `digest` is that of the image's bytes, and tells two such builds apart.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, mkdir, open, readFile, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import { LabError, throwIfAborted } from '../lab/util/errors.js';
import { withStep } from '../lab/util/progress.js';
import { cached, cacheKey, removeTree } from './cache.js';
import type { BuildContext } from './context.js';
import { makeDebian, makeDebianTar } from './debian.js';
import { checkExt4, ext4Env } from './ext4.js';
import { buildKernelTree, kernelTreeKey } from './kernel-tree.js';
import { BENCH, DEBIAN, type DebianRecipe, type ImageKind, RECIPES, RIVALS, SUITE, TINY } from './recipes.js';
import { makeTiny, readBusybox } from './tiny.js';
import { buildGuestTool } from './tools.js';

export type { ImageKind } from './recipes.js';

/** Raise it when the way an image is made changes without its recipe. */
const METHOD = '1';

export interface BuiltImage {
  readonly kind: ImageKind;
  /** SHA-256 of the raw image. */
  readonly digest: string;
  /** Path of the raw ext4 image, read-only. */
  readonly raw: string;
  readonly sizeBytes: number;
}

/** `image.json` beside the image. */
interface ImageFacts {
  readonly digest: string;
  readonly sizeBytes: number;
}

/** The kind that was named, or an error that lists them. */
export function parseImageKind(name: string): ImageKind {
  if (Object.hasOwn(RECIPES, name)) return name as ImageKind;
  throw new LabError('LAB_IMAGE_UNKNOWN', `there is no image '${name}'`, {
    next: `choose one of: ${Object.keys(RECIPES).join(', ')}`,
  });
}

async function toolVersion(argv: readonly [string, ...string[]], ctx: BuildContext): Promise<string> {
  // e2fsprogs says its version on stderr.
  const text = await runTool(['sh', '-c', 'exec "$@" 2>&1', 'sh', ...argv], {
    env: ext4Env(),
    signal: ctx.signal,
    next: 'install the packages e2fsprogs and mmdebstrap',
  });
  return text.split('\n')[0] ?? '';
}

async function digestOf(file: string, ctx: BuildContext): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(file, { highWaterMark: 1024 * 1024 })) {
    throwIfAborted(ctx.signal, `reading ${file}`);
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

/** Checks a new image, seals it and writes its facts beside it. */
async function seal(folder: string, raw: string, ctx: BuildContext): Promise<void> {
  await checkExt4(raw, ctx);
  const facts: ImageFacts = { digest: await digestOf(raw, ctx), sizeBytes: (await stat(raw)).size };
  await chmod(raw, 0o444);
  await writeFile(path.join(folder, 'image.json'), `${JSON.stringify(facts)}\n`);
  // The rename that follows must not become durable before the content.
  const file = await open(raw, 'r');
  await file.sync().finally(() => file.close());
}

async function buildTiny(ctx: BuildContext): Promise<string> {
  const mark = await buildGuestTool('mark', ctx);
  const parts = [
    METHOD,
    JSON.stringify(TINY),
    await toolVersion(['mke2fs', '-V'], ctx),
    await readFile(mark),
    await readBusybox(),
  ];
  return cached({ area: 'images', name: 'tiny', key: cacheKey(parts) }, ctx, (folder) =>
    withStep(ctx.progress, 'make the image tiny', async () => {
      const scratch = path.join(folder, 'tree');
      const raw = path.join(folder, 'image.raw');
      await mkdir(scratch, { recursive: true });
      await makeTiny(TINY, mark, raw, scratch, ctx);
      await removeTree(scratch);
      await seal(folder, raw, ctx);
    }),
  );
}

async function buildDebian(recipe: DebianRecipe, ctx: BuildContext): Promise<string> {
  const mark = await buildGuestTool('mark', ctx);
  const { filesystem, kind, ...content } = recipe;
  const { kernelTree } = recipe;
  const tarKey = cacheKey([
    METHOD,
    JSON.stringify(content),
    await toolVersion(['mmdebstrap', '--version'], ctx),
    ...(kernelTree === undefined ? [] : [await kernelTreeKey(ctx)]),
  ]);
  const imageKey = cacheKey([
    tarKey,
    JSON.stringify(filesystem),
    await toolVersion(['mke2fs', '-V'], ctx),
    await readFile(mark),
  ]);
  return cached({ area: 'images', name: kind, key: imageKey }, ctx, async (folder) => {
    const entry = { area: 'images', name: `${kind}-tree`, key: tarKey, suffix: '.tar' };
    const tar = await cached(entry, ctx, async (temporary) => {
      const tree = kernelTree === undefined ? undefined : await buildKernelTree(kernelTree, ctx);
      await makeDebianTar(recipe, temporary, ctx);
      if (tree !== undefined) await runTool(['tar', '--concatenate', '-f', temporary, tree], { signal: ctx.signal });
    });
    const raw = path.join(folder, 'image.raw');
    await mkdir(folder);
    await makeDebian(recipe, tar, mark, raw, ctx);
    await withStep(ctx.progress, 'check and digest the image', () => seal(folder, raw, ctx));
  });
}

const BUILDERS: Record<ImageKind, (ctx: BuildContext) => Promise<string>> = {
  tiny: buildTiny,
  debian: (ctx) => buildDebian(DEBIAN, ctx),
  suite: (ctx) => buildDebian(SUITE, ctx),
  bench: (ctx) => buildDebian(BENCH, ctx),
  rivals: (ctx) => buildDebian(RIVALS, ctx),
};

async function readFacts(folder: string, raw: string): Promise<ImageFacts> {
  try {
    const facts = JSON.parse(await readFile(path.join(folder, 'image.json'), 'utf8')) as ImageFacts;
    const { size } = await stat(raw);
    if (size !== facts.sizeBytes) throw new Error(`${raw} has ${size} bytes, ${facts.sizeBytes} were written`);
    return facts;
  } catch (error) {
    throw new LabError('LAB_CACHE_CORRUPT', `the cached image in ${folder} is not whole`, {
      cause: error,
      next: `remove that folder and build it again`,
    });
  }
}

/** The image, out of the cache if it is there. */
export async function buildImage(kind: ImageKind, ctx: BuildContext): Promise<BuiltImage> {
  const folder = await BUILDERS[kind](ctx);
  const raw = path.join(folder, 'image.raw');
  return { kind, raw, ...(await readFacts(folder, raw)) };
}
