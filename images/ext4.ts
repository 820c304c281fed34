// SPDX-License-Identifier: MIT
/**
 * Makes ext4 images whose bytes depend on the recipe and the files only.
 *
 * mke2fs 1.47 takes the access and change times of the inodes from the source
 * tree, that is, from the moment it was unpacked: `normaliseTimes` sets them in
 * the image afterwards. E2FSPROGS_FAKE_TIME fixes all other times, and the
 * feature list is spelled out so that the host's mke2fs.conf has no say.
 */
import { runTool } from '../lab/proc/tool.js';
import { LabError } from '../lab/util/errors.js';
import type { BuildContext } from './context.js';
import { type FilesystemRecipe, IMAGE_EPOCH_S } from './recipes.js';

/** Debian's own set for ext4 (mke2fs.conf of e2fsprogs 1.47.0). */
export const EXT4_FEATURES: readonly string[] = [
  'none',
  'sparse_super',
  'large_file',
  'filetype',
  'resize_inode',
  'dir_index',
  'ext_attr',
  'has_journal',
  'extent',
  'huge_file',
  'flex_bg',
  'metadata_csum',
  '64bit',
  'dir_nlink',
  'extra_isize',
];

const NEXT = 'install the packages e2fsprogs and busybox-static';

/** Arguments of mke2fs for an image file: pure. */
export function mke2fsArgs(recipe: FilesystemRecipe, image: string, tree: string): [string, ...string[]] {
  const extended = [
    'lazy_itable_init=0',
    'lazy_journal_init=0',
    // Discard would punch the zeroed journal out again on some hosts only.
    'nodiscard',
    `hash_seed=${recipe.hashSeed}`,
    'root_owner=0:0',
  ];
  return [
    'mke2fs',
    ...['-q', '-F', '-t', 'ext4', '-O', EXT4_FEATURES.join(',')],
    ...['-b', '4096', '-I', '256', '-i', String(recipe.bytesPerInode), '-m', '1'],
    ...['-J', `size=${recipe.journalMiB}`, '-U', recipe.uuid],
    ...['-E', extended.join(',')],
    ...['-d', tree, image, `${recipe.sizeMiB}M`],
  ];
}

/** Environment of e2fsprogs: fixed time, messages we can read, and sbin for users without it. */
export function ext4Env(): NodeJS.ProcessEnv {
  return {
    ...process.env,
    LC_ALL: 'C',
    E2FSPROGS_FAKE_TIME: String(IMAGE_EPOCH_S),
    PATH: `${process.env.PATH ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`,
  };
}

/** The inodes in use, out of what dumpe2fs prints: pure. Reserved ones below 11 but the root are left out. */
export function usedInodes(dump: string): number[] {
  const count = Number(/^Inode count:\s+(\d+)$/m.exec(dump)?.[1]);
  if (!Number.isInteger(count)) throw new LabError('LAB_BUG', 'dumpe2fs printed no inode count');
  const free = new Set<number>();
  for (const match of dump.matchAll(/^ {2}Free inodes:(.*)$/gm)) {
    for (const range of (match[1] ?? '').split(',')) {
      const [from, to] = range.trim().split('-').map(Number);
      if (from === undefined || from === 0) continue;
      for (let ino = from; ino <= (to ?? from); ino++) free.add(ino);
    }
  }
  const used = [2];
  for (let ino = 11; ino <= count; ino++) if (!free.has(ino)) used.push(ino);
  return used;
}

/** Runs debugfs commands on an image; anything it has to say about one is an error. */
export async function runDebugfs(image: string, commands: readonly string[], ctx: BuildContext): Promise<void> {
  const output = await runTool(['debugfs', '-w', '-f', '-', image], {
    env: ext4Env(),
    signal: ctx.signal,
    input: `${commands.join('\n')}\n`,
    maxOutputBytes: 64 * 1024 * 1024,
    next: NEXT,
  });
  // It exits with 0 whatever happens; each command is echoed behind its prompt.
  const complaint = output.split('\n').find((line) => line !== '' && !line.startsWith('debugfs: '));
  if (complaint !== undefined) throw new LabError('LAB_TOOL_FAILED', `debugfs on ${image}: ${complaint}`);
}

/** Sets those times of every inode in use to the image's epoch. */
export async function normaliseTimes(
  image: string,
  times: readonly ('atime' | 'ctime' | 'mtime' | 'crtime')[],
  ctx: BuildContext,
): Promise<void> {
  const dump = await runTool(['dumpe2fs', image], {
    env: ext4Env(),
    signal: ctx.signal,
    maxOutputBytes: 64 * 1024 * 1024,
  });
  const commands = usedInodes(dump).flatMap((ino) => times.map((time) => `sif <${ino}> ${time} @${IMAGE_EPOCH_S}`));
  await runDebugfs(image, commands, ctx);
}

/** Lets e2fsck, which changes nothing, have the last word on a new image. */
export async function checkExt4(image: string, ctx: BuildContext): Promise<void> {
  await runTool(['e2fsck', '-f', '-n', image], {
    env: ext4Env(),
    signal: ctx.signal,
    next: 'report this: the image is not consistent',
  });
}
