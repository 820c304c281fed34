// SPDX-License-Identifier: MIT
/**
 * The `tiny` image: one static busybox and a name for each of its applets.
 * Needs no privilege: the tree belongs to whoever builds it, and debugfs sets
 * the owners in the image.
 */
import { chmod, copyFile, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import { LabError } from '../lab/util/errors.js';
import type { BuildContext } from './context.js';
import { ext4Env, mke2fsArgs, normaliseTimes, runDebugfs } from './ext4.js';
import type { TinyRecipe } from './recipes.js';

const BUSYBOX = '/bin/busybox';
const NEXT = 'install the package busybox-static';

/** True if an ELF file asks for no program interpreter, that is, for no dynamic loader: pure. */
export function isStaticElf(bytes: Buffer): boolean {
  const PT_INTERP = 3;
  if (bytes.length < 64 || bytes.readUInt32BE(0) !== 0x7f454c46 || bytes[4] !== 2) return false;
  const table = Number(bytes.readBigUInt64LE(32));
  const entrySize = bytes.readUInt16LE(54);
  const entries = bytes.readUInt16LE(56);
  for (let index = 0; index < entries; index++) {
    const at = table + index * entrySize;
    if (at + 4 > bytes.length || bytes.readUInt32LE(at) === PT_INTERP) return false;
  }
  return true;
}

/** The host's busybox, which must be the static one. */
export async function readBusybox(): Promise<Buffer> {
  let bytes: Buffer;
  try {
    bytes = await readFile(BUSYBOX);
  } catch (error) {
    throw new LabError('LAB_ENV_MISSING', `the tiny image needs ${BUSYBOX}`, { cause: error, next: NEXT });
  }
  if (isStaticElf(bytes)) return bytes;
  throw new LabError('LAB_ENV_MISSING', `${BUSYBOX} needs shared libraries; the tiny image has none`, { next: NEXT });
}

/** Makes the image file; `scratch` is an empty folder for the tree. */
export async function makeTiny(
  recipe: TinyRecipe,
  mark: string,
  image: string,
  scratch: string,
  ctx: BuildContext,
): Promise<void> {
  const names = new Set<string>();
  const place = (name: string) => {
    names.add(`/${name}`);
    return path.join(scratch, name);
  };
  for (const { path: name, mode, content } of recipe.tree) {
    const target = place(name);
    if (content === undefined) await mkdir(target);
    else await writeFile(target, content);
    // Apart from the making: that is cut by the umask, and drops the sticky bit.
    await chmod(target, mode);
  }
  await writeFile(place('bin/busybox'), await readBusybox());
  await copyFile(mark, place('usr/bin/lemona-mark'));
  for (const name of ['bin/busybox', 'usr/bin/lemona-mark']) await chmod(path.join(scratch, name), 0o755);
  const applets = (await runTool([BUSYBOX, '--list-full'], { signal: ctx.signal })).split('\n').filter(Boolean).sort();
  for (const applet of applets) {
    if (recipe.withoutApplets.includes(path.basename(applet)) || names.has(`/${applet}`)) continue;
    await symlink(BUSYBOX, place(applet));
  }
  await runTool(mke2fsArgs(recipe.filesystem, image, scratch), { env: ext4Env(), signal: ctx.signal });
  await runDebugfs(
    image,
    [...names].flatMap((name) => [`sif ${name} uid 0`, `sif ${name} gid 0`]),
    ctx,
  );
  const user = ['sif /home/user uid 1000', 'sif /home/user gid 1000'];
  await runDebugfs(image, user, ctx);
  await normaliseTimes(image, ['atime', 'ctime', 'mtime', 'crtime'], ctx);
}
