// SPDX-License-Identifier: MIT
/**
 * The `debian` image, in two cached steps: mmdebstrap makes a tar of the root
 * filesystem, which only the recipe decides; then the tar and lemona-mark
 * become an ext4 image.
 *
 * Both steps need owners other than the builder's. As root that is given.
 * Otherwise mmdebstrap chooses between a user namespace (package uidmap, and
 * ranges in /etc/subuid and /etc/subgid) and fakechroot (packages fakechroot
 * and fakeroot), and the second step follows it.
 */
import { chmod, copyFile, mkdtemp, stat, truncate } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { runTool } from '../lab/proc/tool.js';
import { LabError } from '../lab/util/errors.js';
import { hostAptOptions, hostSources } from './apt-sources.js';
import { removeTree } from './cache.js';
import type { BuildContext } from './context.js';
import { ext4Env, mke2fsArgs, normaliseTimes } from './ext4.js';
import { type DebianRecipe, IMAGE_EPOCH_S } from './recipes.js';
import { runWatched } from './watch.js';

const HELPER = path.join(path.dirname(fileURLToPath(import.meta.url)), 'ext4-from-tar.sh');
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg';

export type Privilege = 'root' | 'unshare' | 'fakeroot';

async function succeeds(argv: [string, ...string[]], ctx: BuildContext): Promise<boolean> {
  return runTool(argv, { signal: ctx.signal, env: ext4Env() }).then(
    () => true,
    (error: unknown) => {
      if (ctx.signal.aborted) throw error;
      return false;
    },
  );
}

/** How files of other owners can be made here: found out by doing it. */
export async function findPrivilege(ctx: BuildContext): Promise<Privilege> {
  if (process.getuid?.() === 0) return 'root';
  if (await succeeds(['mmdebstrap', '--unshare-helper', 'true'], ctx)) return 'unshare';
  if ((await succeeds(['fakeroot', 'true'], ctx)) && (await succeeds(['fakechroot', 'true'], ctx))) return 'fakeroot';
  throw new LabError(
    'LAB_ENV_MISSING',
    'the debian image holds files of many owners; this user is not root, has no user namespace with more than one owner (newuidmap, /etc/subuid, /etc/subgid), and there is no fakechroot',
    {
      next: 'install the packages fakechroot and fakeroot (or uidmap, with a range for the user in /etc/subuid and /etc/subgid), or run as root',
    },
  );
}

/** For a word of an mmdebstrap hook, which a shell reads. */
function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Arguments of mmdebstrap: pure. */
export function mmdebstrapArgs(
  recipe: DebianRecipe,
  output: string,
  host: {
    readonly sources: readonly string[];
    readonly aptOptions: readonly string[];
    readonly keyring: string | null;
    readonly privilege: Privilege;
  },
): [string, ...string[]] {
  const removed = recipe.removed.map((name) => `"$1"/${quoted(name)}`).join(' ');
  const mode = host.privilege === 'fakeroot' ? 'fakechroot' : host.privilege;
  return [
    'mmdebstrap',
    ...[`--mode=${mode}`, '--variant=minbase', '--format=tar', `--include=${recipe.packages.join(',')}`],
    ...(host.keyring === null ? [] : [`--keyring=${host.keyring}`]),
    ...host.aptOptions.map((option) => `--aptopt=${option}`),
    // The archive may be slow; a dropped connection is tried again.
    '--aptopt=Acquire::Retries "3";',
    ...recipe.withoutPaths.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
    // Without it dpkg syncs each file: minutes on a slow disk, for a tree that is thrown away.
    '--dpkgopt=force-unsafe-io',
    `--customize-hook=rm -rf ${removed}`,
    ...recipe.files.map((file) => `--customize-hook=printf %s ${quoted(file.content)} > "$1"/${quoted(file.path)}`),
    // What mmdebstrap takes away at its very end it also expects to be there.
    '--customize-hook=mkdir -p "$1/var/cache/apt/archives/partial" "$1/var/lib/apt/lists/partial" "$1/var/log/apt" "$1/var/cache/debconf"',
    recipe.suite,
    output,
    ...host.sources,
  ];
}

/** Makes the tar of the root filesystem. */
export async function makeDebianTar(recipe: DebianRecipe, output: string, ctx: BuildContext): Promise<void> {
  const privilege = await findPrivilege(ctx);
  const sources = await hostSources(recipe.suite);
  const keyring = await stat(KEYRING).then(
    () => KEYRING,
    () => null,
  );
  const argv = mmdebstrapArgs(recipe, output, { sources, aptOptions: await hostAptOptions(ctx), keyring, privilege });
  await runWatched(argv, `debian ${recipe.suite}: install ${recipe.packages.length} packages (${privilege})`, ctx, {
    env: { ...ext4Env(), SOURCE_DATE_EPOCH: String(IMAGE_EPOCH_S) },
    next: 'is the Debian archive reachable (apt-get update)? The sources are those of /etc/apt',
  });
}

/** Puts a command where it may set owners. */
function privileged(privilege: Privilege, argv: readonly string[]): readonly string[] {
  switch (privilege) {
    case 'root':
      return argv;
    case 'unshare':
      return ['mmdebstrap', '--unshare-helper', ...argv];
    case 'fakeroot':
      return ['fakeroot', '--', ...argv];
  }
}

/** Makes the image out of the tar and lemona-mark. */
export async function makeDebian(
  recipe: DebianRecipe,
  tar: string,
  mark: string,
  image: string,
  ctx: BuildContext,
): Promise<void> {
  const privilege = await findPrivilege(ctx);
  // Copies that another user id may read: a home folder is often closed to it.
  const shared = await mkdtemp(path.join(tmpdir(), 'lemona-image-'));
  try {
    await chmod(shared, 0o755);
    const own = { helper: path.join(shared, 'ext4-from-tar.sh'), mark: path.join(shared, 'lemona-mark') };
    await copyFile(HELPER, own.helper);
    await copyFile(mark, own.mark);
    for (const file of Object.values(own)) await chmod(file, 0o755);
    const command = ['sh', own.helper, own.mark, ...mke2fsArgs(recipe.filesystem, 'image', 'tree')];
    await runWatched(
      ['sh', '-c', 'exec "$@" <"$LEMONA_TAR" >"$LEMONA_IMAGE"', 'sh', ...privileged(privilege, command)],
      `debian ${recipe.suite}: make the ext4 image`,
      ctx,
      { env: { ...ext4Env(), LEMONA_TAR: tar, LEMONA_IMAGE: image } },
    );
  } finally {
    await removeTree(shared);
  }
  // A hole at the very end is not written.
  await truncate(image, recipe.filesystem.sizeMiB * 1024 * 1024);
  await normaliseTimes(image, ['atime', 'ctime'], ctx);
}
