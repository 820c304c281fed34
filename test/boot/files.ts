// SPDX-License-Identifier: MIT
/** Files as they really are: what the guest makes of them, in groups that share a boot. */

import {
  BLOCK_MAPS,
  EA_INODES,
  type Ext4Features,
  type Ext4Layout,
  INLINE_DATA,
  LEFT_INODE,
  NO_JOURNAL,
  PROJECTS_AND_QUOTAS,
  SMALL_BLOCKS,
} from '../harness/features.js';

export interface FilesCase {
  /** Of the guest's program `files`, of the folder it works in, and of the mark after it. */
  readonly name: string;
  readonly what: string;
  /** The record has to say that it does not vouch for something, in these words; otherwise it must vouch for all. */
  readonly taint?: RegExp;
  /** The files that it may be wrong about then. */
  readonly inDoubt?: RegExp;
}

export interface FilesGroup {
  readonly title: string;
  readonly cases: readonly FilesCase[];
  /** Added to the image's ext4. */
  readonly features?: Ext4Features;
  /** The image's files on another ext4. */
  readonly layout?: Ext4Layout;
  /** Of the mount, beside the usual ones. */
  readonly mountOptions?: string;
  /** Options of the guest's kernel without which the image can't be mounted. */
  readonly needs?: readonly string[];
  /** What the replay may be refused, and says so. */
  readonly refused?: RegExp;
  /** A file whose blocks refuse to be written to, and how many bytes it has. */
  readonly badFile?: { readonly path: string; readonly sizeBytes: number };
}

/** Where the ends of files, of blocks and of pages are not the same. */
const ENDS: readonly FilesCase[] = [
  { name: 'tails', what: 'stores behind the end of a file that then grows over them' },
  { name: 'blocks', what: 'single blocks of a page, made and cut' },
  { name: 'small-mapped', what: 'files of every size below a page' },
  { name: 'faults', what: 'writes that fault half-way, bad vectors, copies in the kernel' },
  { name: 'rejected', what: 'writes whose source goes away between two tries' },
];

const BAD_FILE = '/root/on-bad-blocks';

/** Who is told that the disk failed: the first failure ends it, so that each has a boot of its own. */
const BAD_WAYS = [
  { title: 'a disk that fails', name: 'io-errors', what: 'fsync of blocks that cannot be written back' },
  { title: 'a disk that fails under O_DIRECT', name: 'io-errors-direct', what: 'the write itself, past the cache' },
  { title: 'a disk that fails under O_SYNC', name: 'io-errors-sync', what: 'the write itself, through the cache' },
  { title: 'a disk that fails unasked', name: 'io-errors-unasked', what: 'nobody but the whole disk, by sync' },
] as const;

export const FILES_GROUPS: readonly FilesGroup[] = [
  {
    title: 'names, links and renames',
    cases: [
      { name: 'bytes', what: 'names of any byte, of 255 bytes, of invalid UTF-8' },
      { name: 'deep', what: 'folders deeper than a path can tell' },
      { name: 'links', what: 'a web of hard links, torn and tied again' },
      { name: 'symlinks', what: 'symbolic links of 1 to 4,095 bytes' },
      { name: 'nodes', what: 'devices, FIFOs and sockets' },
      { name: 'terminal', what: 'a terminal that was written to' },
      { name: 'held-times', what: 'names that are seen before their birth has a number' },
      { name: 'held-names', what: 'folders that are moved into before their birth has a number' },
      { name: 'renames', what: 'plain, NOREPLACE and EXCHANGE between all kinds' },
      { name: 'whiteouts', what: 'renames that leave a whiteout' },
    ],
  },
  {
    title: 'contents',
    cases: [
      { name: 'holes', what: 'holes, offsets above 4 GiB and 2 TiB, the largest file' },
      { name: 'fallocate', what: 'every mode of fallocate at many places' },
      { name: 'anonymous', what: 'O_TMPFILE and linkat; files written to after deletion' },
      { name: 'held', what: 'nameless files that stay open over a mark' },
      { name: 'released', what: 'one of them gets a name, the others go' },
      { name: 'faults', what: 'writes that fault half-way, bad vectors, copies in the kernel' },
      { name: 'too-big', what: 'EFBIG in the middle of a write' },
    ],
  },
  { title: 'ends of files', cases: ENDS },
  { title: 'ends of files, four blocks to a page', layout: SMALL_BLOCKS, cases: ENDS },
  {
    title: 'ranges and folders, four blocks to a page',
    layout: SMALL_BLOCKS,
    cases: [
      { name: 'fallocate', what: 'every mode of fallocate at many places' },
      { name: 'anonymous', what: 'O_TMPFILE and linkat; files written to after deletion' },
      { name: 'links', what: 'a web of hard links, torn and tied again' },
    ],
  },
  {
    title: 'files and folders that live in their inodes',
    layout: INLINE_DATA,
    cases: [
      { name: 'small', what: 'around the size that fits', taint: LEFT_INODE, inDoubt: /\/small\// },
      { name: 'bytes', what: 'names of any byte, of 255 bytes, of invalid UTF-8' },
      { name: 'deep', what: 'folders deeper than a path can tell' },
      { name: 'links', what: 'a web of hard links, torn and tied again' },
      { name: 'renames', what: 'plain, NOREPLACE and EXCHANGE between all kinds' },
      { name: 'whiteouts', what: 'renames that leave a whiteout' },
      { name: 'acls', what: 'ACLs, set and inherited' },
      { name: 'capabilities', what: 'file capabilities, kept and dropped' },
      { name: 'setids', what: 'set-id bits that writing, owning and cutting drop' },
    ],
  },
  {
    // What is stored then, Linux 6.12 itself may lose.
    title: 'files that are driven out of their inodes by stores',
    layout: INLINE_DATA,
    cases: [{ name: 'small-mapped', what: 'of every size', taint: LEFT_INODE, inDoubt: /\/small-mapped\// }],
  },
  { title: 'ends of files in block maps', layout: BLOCK_MAPS, cases: ENDS },
  {
    title: 'an ext4 without a journal',
    layout: NO_JOURNAL,
    cases: [
      { name: 'links', what: 'a web of hard links, torn and tied again' },
      { name: 'anonymous', what: 'O_TMPFILE and linkat; files written to after deletion' },
      { name: 'acls', what: 'ACLs, set and inherited' },
    ],
  },
  { title: 'ends of files, content through the journal', mountOptions: 'data=journal', cases: ENDS },
  {
    title: 'ends of files, blocks allocated at once',
    layout: SMALL_BLOCKS,
    mountOptions: 'nodelalloc',
    cases: ENDS,
  },
  {
    title: 'attributes',
    cases: [
      { name: 'xattrs', what: 'extended attributes until there is no room' },
      { name: 'acls', what: 'ACLs, set and inherited' },
      { name: 'capabilities', what: 'file capabilities, kept and dropped' },
      { name: 'flags', what: 'flags of chattr, set, inherited and obeyed' },
      { name: 'half-flags', what: 'flags that are set by a call that fails' },
      { name: 'setids', what: 'set-id bits that writing, owning and cutting drop' },
      { name: 'times', what: 'times from 1901 to 2446, to the nanosecond' },
      { name: 'own-driver', what: 'times by the ioctl that rebuilding needs' },
    ],
  },
  {
    title: 'values with an inode of their own',
    features: EA_INODES,
    cases: [{ name: 'big-xattrs', what: 'extended attributes of up to 64 KiB' }],
  },
  {
    title: 'a folder of 100,000 names',
    cases: [{ name: 'huge', what: '65,000 links of one inode, half of them deleted, many renamed' }],
  },
  {
    title: 'a full disk',
    cases: [
      { name: 'full', what: 'ENOSPC in the middle of writes, then room again' },
      { name: 'full-mapped', what: 'stores into holes without a block' },
      { name: 'full-names', what: 'links and renames that find no room for a name' },
      { name: 'full-acl', what: 'a mode that finds no room for its ACL' },
    ],
  },
  {
    title: 'a full disk, four blocks to a page',
    layout: SMALL_BLOCKS,
    cases: [{ name: 'full-strays', what: 'blocks for stray bytes, by writes that fail' }],
    // A few blocks are elsewhere than they were: so full a disk has no room for that.
    refused: /wanted success, seen No space left on device/,
  },
  {
    title: 'a disk so full that writeback gives up',
    cases: [
      {
        name: 'lost-writeback',
        what: 'no block for the extents of what is written',
        taint: /^its content could not be written back$/,
        inDoubt: /\/lost-writeback\/given-up$/,
      },
    ],
    // The guest does without ext4's reserve, and the replay does not.
    refused: /fallocate: wanted success, seen No space left on device/,
  },
  {
    title: 'a file system that is made read-only by force',
    cases: [
      {
        name: 'forced-read-only',
        what: 'and written to all the same',
        taint: /^it was made read-only by force$/,
        inDoubt: /forced-read-only/,
      },
    ],
  },
  // All that comes later is in doubt, so that each has a boot of its own.
  ...(['owners', 'inodes'] as const).map(
    (what): FilesGroup => ({
      title: `a mount option that cuts ${what}`,
      cases: [
        {
          name: `cut-${what}`,
          what: 'of whatever is written later',
          taint: /cut .*by a mount option$/,
          inDoubt: new RegExp(`/cut-${what}(/cut)?$`),
        },
      ],
    }),
  ),
  {
    title: 'project ids and quotas',
    features: PROJECTS_AND_QUOTAS,
    needs: ['CONFIG_QUOTA', 'CONFIG_QFMT_V2'],
    cases: [
      { name: 'projects', what: 'project ids, set and inherited' },
      { name: 'quota', what: 'EDQUOT of user, group and project', taint: /^a quota was set$/ },
    ],
  },
  ...BAD_WAYS.map(
    ({ title, name, what }): FilesGroup => ({
      title,
      badFile: { path: BAD_FILE, sizeBytes: 65536 },
      cases: [
        {
          name,
          what,
          taint: /^its content could not be written back$/,
          inDoubt: new RegExp(`^${BAD_FILE}$`),
        },
      ],
    }),
  ),
];
