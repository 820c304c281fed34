// SPDX-License-Identifier: MIT
/**
 * Which folder may import which: one row a folder, the longest matching path
 * wins. `npm run check` fails on an import that is not listed, and on a listed
 * one that nothing uses. A folder may always import itself.
 */
export interface DepsRow {
  readonly folder: string;
  /** Folders of this repository. */
  readonly folders: readonly string[];
  /** npm packages; Node's own modules are free to all. */
  readonly packages: readonly string[];
  /** Only files directly in it: folders below need rows of their own. */
  readonly isShallow?: true;
}

export const DEPS = [
  { folder: 'lab', folders: [], packages: ['typescript'], isShallow: true },
  { folder: 'lab/abi', folders: [], packages: ['@node-rs/crc32'] },
  { folder: 'lab/util', folders: [], packages: [] },
  { folder: 'lab/proc', folders: ['lab/util'], packages: [] },
  { folder: 'lab/trace', folders: ['lab/abi', 'lab/util'], packages: ['@node-rs/crc32'] },
  { folder: 'lab/evidence', folders: ['lab/proc', 'lab/util'], packages: [] },
  // Nothing at all: it judges what the rest of this program wrote, by the documented formats alone.
  { folder: 'lab/audit', folders: [], packages: [] },
  { folder: 'lab/vm', folders: ['lab/proc', 'lab/util'], packages: ['@xterm/headless'] },
  { folder: 'lab/link', folders: ['lab/abi', 'lab/trace', 'lab/util'], packages: [] },
  {
    folder: 'lab/run',
    folders: ['lab/evidence', 'lab/vm', 'lab/link', 'lab/trace', 'lab/abi', 'lab/proc', 'lab/util'],
    packages: ['zod'],
  },
  {
    folder: 'lab/server',
    folders: ['lab/abi', 'lab/evidence', 'lab/link', 'lab/run', 'lab/trace', 'lab/util'],
    packages: ['zod'],
  },
  { folder: 'guest-kernel', folders: ['lab/proc', 'lab/util'], packages: [] },
  // It unpacks the kernel's source for guests that compile it.
  { folder: 'images', folders: ['guest-kernel', 'lab/proc', 'lab/util'], packages: [] },
  // It has a row of its own because it must not see apply or plan; of images it uses the cache.
  { folder: 'replay/verify', folders: ['images', 'lab/proc', 'lab/util'], packages: [] },
  {
    folder: 'replay',
    folders: ['replay/verify', 'lab/run', 'lab/vm', 'lab/trace', 'lab/abi', 'lab/proc', 'lab/util'],
    packages: [],
  },
  {
    folder: 'lab/store',
    folders: ['images', 'lab/trace', 'lab/abi', 'lab/proc', 'lab/util'],
    packages: ['msgpackr', 'pg', 'sqlite3'],
  },
  {
    folder: 'lab/parts',
    folders: [
      ...['guest-kernel', 'images', 'replay', 'replay/verify', 'lab/store', 'lab/run', 'lab/trace', 'lab/vm'],
      ...['lab/proc', 'lab/util'],
    ],
    packages: [],
  },
  {
    folder: 'lab/demo',
    folders: ['replay', 'lab/parts', 'lab/run', 'lab/trace', 'lab/abi', 'lab/proc', 'lab/util'],
    packages: ['picocolors'],
  },
  {
    folder: 'lab/bench',
    folders: [
      ...['guest-kernel', 'images', 'replay', 'lab/link', 'lab/parts', 'lab/run', 'lab/store', 'lab/vm', 'lab/trace'],
      ...['lab/abi', 'lab/proc', 'lab/util'],
    ],
    packages: ['@observablehq/plot', '@resvg/resvg-js', 'jsdom', 'zod'],
  },
  {
    folder: 'lab/cli',
    folders: [
      ...['guest-kernel', 'images', 'replay', 'lab/audit', 'lab/bench', 'lab/demo', 'lab/evidence', 'lab/parts'],
      ...['lab/run', 'lab/server', 'lab/store', 'lab/link', 'lab/trace', 'lab/abi', 'lab/proc', 'lab/util'],
    ],
    packages: ['commander', 'cli-table3'],
  },
  {
    folder: 'test/support',
    folders: ['lab/abi', 'lab/evidence', 'lab/link', 'lab/parts', 'lab/run', 'lab/server', 'lab/trace', 'lab/util'],
    packages: [],
  },
  {
    folder: 'test/harness',
    folders: [
      ...[
        'images',
        'replay',
        'test/support',
        'lab/cli',
        'lab/parts',
        'lab/proc',
        'lab/run',
        'lab/store',
        'lab/trace',
        'lab/util',
        'lab/vm',
      ],
    ],
    packages: ['chai', 'mocha', 'zx'],
  },
  {
    folder: 'test',
    folders: [
      ...['guest-kernel', 'images', 'replay', 'replay/verify', 'test/harness', 'test/support'],
      ...[
        'lab',
        'lab/audit',
        'lab/bench',
        'lab/cli',
        'lab/demo',
        'lab/evidence',
        'lab/parts',
        'lab/run',
        'lab/link',
        'lab/store',
        'lab/server',
        'lab/vm',
        'lab/trace',
        'lab/abi',
        'lab/proc',
        'lab/util',
      ],
    ],
    packages: ['@node-rs/crc32', 'chai', 'fast-check', 'msgpackr'],
  },
] as const satisfies readonly DepsRow[];

/** Every folder whose files are checked; a folder here without a row fails. */
export const CHECKED = ['lab', 'replay', 'images', 'guest-kernel', 'test'] as const;
