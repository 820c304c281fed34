// SPDX-License-Identifier: MIT
/** The images as data. Whatever is changed here gives the image a new key in the cache. */

/** Times of everything the archive does not date: 2026-01-01T00:00:00Z, in seconds. */
export const IMAGE_EPOCH_S = 1767225600;

export interface FilesystemRecipe {
  readonly sizeMiB: number;
  readonly journalMiB: number;
  /** One inode for so many bytes. */
  readonly bytesPerInode: number;
  /** Fixed: a fresh one would make every build different. */
  readonly uuid: string;
  readonly hashSeed: string;
}

/** A folder, or a file with content, made as owner 0. */
export interface TreeEntry {
  readonly path: string;
  readonly mode: number;
  /** Undefined: a folder. */
  readonly content?: string;
}

export interface TinyRecipe {
  readonly kind: 'tiny';
  readonly filesystem: FilesystemRecipe;
  readonly tree: readonly TreeEntry[];
  /** Applets that get no name: init is ours. */
  readonly withoutApplets: readonly string[];
}

export interface DebianRecipe {
  readonly kind: 'debian' | 'suite' | 'bench' | 'rivals';
  readonly filesystem: FilesystemRecipe;
  readonly suite: string;
  readonly packages: readonly string[];
  /** Paths that dpkg leaves out while the image is made; the guest's dpkg is stock. */
  readonly withoutPaths: readonly string[];
  /** Removed at the end: what differs from build to build, or names this machine. */
  readonly removed: readonly string[];
  readonly files: readonly { readonly path: string; readonly content: string }[];
  /** Folder of a Linux tree that is ready to be compiled (kernel-tree.ts). */
  readonly kernelTree?: string;
}

const FOLDER = 0o755;
const FILE = 0o644;

export const TINY: TinyRecipe = {
  kind: 'tiny',
  filesystem: {
    sizeMiB: 256,
    journalMiB: 16,
    bytesPerInode: 8192,
    uuid: '1e304a1a-0001-4000-8000-000000000001',
    hashSeed: '1e304a1a-0001-4000-8000-00000000a5ed',
  },
  tree: [
    ...['bin', 'dev', 'etc', 'home', 'mnt', 'proc', 'run', 'sbin', 'sys', 'usr', 'usr/bin', 'usr/sbin'].map((path) => ({
      path,
      mode: FOLDER,
    })),
    { path: 'root', mode: 0o700 },
    { path: 'tmp', mode: 0o1777 },
    ...['var', 'var/log', 'var/spool', 'var/spool/cron', 'var/spool/cron/crontabs'].map((path) => ({
      path,
      mode: FOLDER,
    })),
    { path: 'var/tmp', mode: 0o1777 },
    { path: 'etc/group', mode: FILE, content: 'root:x:0:\ntty:x:5:\nuser:x:1000:\nnogroup:x:65534:\n' },
    { path: 'etc/hostname', mode: FILE, content: 'lemona\n' },
    { path: 'etc/hosts', mode: FILE, content: '127.0.0.1 localhost lemona\n' },
    {
      path: 'etc/passwd',
      mode: FILE,
      content:
        'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/home/user:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n',
    },
    { path: 'etc/shadow', mode: 0o600, content: 'root:*:20454:0:99999:7:::\nuser:*:20454:0:99999:7:::\n' },
    { path: 'home/user', mode: FOLDER },
  ],
  withoutApplets: ['linuxrc', 'init'],
};

export const DEBIAN: DebianRecipe = {
  kind: 'debian',
  filesystem: {
    sizeMiB: 2048,
    journalMiB: 64,
    bytesPerInode: 16384,
    uuid: '1e304a1a-0002-4000-8000-000000000002',
    hashSeed: '1e304a1a-0002-4000-8000-00000000a5ed',
  },
  suite: 'bookworm',
  packages: [
    // Honest work of the demo and of most users.
    'gcc',
    'git',
    'libc6-dev',
    'libsqlite3-dev',
    'liblmdb-dev',
    'lmdb-utils',
    'make',
    'patch',
    'rsync',
    'sqlite3',
    'xz-utils',
    // What a file's attributes are looked at and changed with.
    'acl',
    'attr',
    'e2fsprogs',
    // People, accounts and processes.
    'cron',
    'login',
    'passwd',
    'procps',
    'strace',
    'util-linux',
  ],
  withoutPaths: [
    '/usr/share/doc/*',
    '/usr/share/info/*',
    '/usr/share/locale/*',
    '/usr/share/man/*',
    '/usr/share/lintian/*',
  ],
  removed: [
    'etc/apt/apt.conf.d/99mmdebstrap',
    'etc/dpkg/dpkg.cfg.d/99mmdebstrap',
    'etc/machine-id',
    'etc/resolv.conf',
    'var/cache/apt',
    'var/cache/debconf',
    'var/cache/ldconfig/aux-cache',
    'var/lib/apt/lists',
    'var/lib/dbus/machine-id',
    'var/log/alternatives.log',
    'var/log/apt',
    'var/log/bootstrap.log',
    'var/log/dpkg.log',
  ],
  files: [
    { path: 'etc/apt/sources.list', content: '# A recorded guest has no network; add sources here if yours has.\n' },
    { path: 'etc/hostname', content: 'lemona\n' },
    { path: 'etc/hosts', content: '127.0.0.1 localhost lemona\n' },
  ],
};

/** What the long tests run: databases and tools that try a file system hard. */
export const SUITE: DebianRecipe = {
  ...DEBIAN,
  kind: 'suite',
  filesystem: {
    ...DEBIAN.filesystem,
    sizeMiB: 4096,
    uuid: '1e304a1a-0003-4000-8000-000000000003',
    hashSeed: '1e304a1a-0003-4000-8000-00000000a5ed',
  },
  packages: [
    ...DEBIAN.packages,
    'bc',
    'bison',
    'dbench',
    'fio',
    'flex',
    'libelf-dev',
    'postgresql',
    'postgresql-contrib',
    'stress-ng',
  ],
};

/** What the benchmark's guests work on: the paper's two tests. */
export const BENCH: DebianRecipe = {
  ...DEBIAN,
  kind: 'bench',
  filesystem: {
    ...DEBIAN.filesystem,
    uuid: '1e304a1a-0004-4000-8000-000000000004',
    hashSeed: '1e304a1a-0004-4000-8000-00000000a5ed',
  },
  packages: [...DEBIAN.packages, 'apache2', 'apache2-utils', 'bc'],
  kernelTree: 'usr/src/linux',
};

/** The same, with other recorders to compare with (lab/bench/rivals.ts), and room for what they write. */
export const RIVALS: DebianRecipe = {
  ...BENCH,
  kind: 'rivals',
  filesystem: {
    ...BENCH.filesystem,
    sizeMiB: 8192,
    uuid: '1e304a1a-0005-4000-8000-000000000005',
    hashSeed: '1e304a1a-0005-4000-8000-00000000a5ed',
  },
  packages: [...BENCH.packages, 'auditd', 'bpftrace', 'linux-perf', 'trace-cmd'],
};

export const RECIPES = { tiny: TINY, debian: DEBIAN, suite: SUITE, bench: BENCH, rivals: RIVALS } as const;

export type ImageKind = keyof typeof RECIPES;
