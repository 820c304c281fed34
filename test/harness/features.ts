// SPDX-License-Identifier: MIT
/** Images whose ext4 is not as ours is: it has more features, or is laid out in another way. */
import { mkdir, rm } from 'node:fs/promises';
import { EXT4_FEATURES, ext4Env } from '../../images/ext4.js';
import { sh } from './sh.js';

export interface Ext4Features {
  /** As tune2fs calls them. */
  readonly features: readonly string[];
  /** Further arguments of tune2fs. */
  readonly args?: readonly string[];
}

/** For GuestOptions.tune; e2fsck has the last word. */
export function withFeatures({ features, args = [] }: Ext4Features): (raw: string) => Promise<void> {
  return async (raw) => {
    const tool = sh({ env: ext4Env() });
    await tool`tune2fs -O ${features.join(',')} ${[...args]} ${raw}`;
    await tool`e2fsck -fn ${raw}`;
  };
}

export const EA_INODES: Ext4Features = { features: ['ea_inode'] };
export const PROJECTS_AND_QUOTAS: Ext4Features = {
  features: ['project', 'quota'],
  args: ['-Q', 'usrquota,grpquota,prjquota'],
};

export interface Ext4Layout {
  /** 4096 unless told. */
  readonly blockBytes?: number;
  /** Undefined: all of the disk. */
  readonly sizeMiB?: number;
  /** As mke2fs calls them: more than ours have, or with a ^ those it goes without. */
  readonly features?: readonly string[];
  /** Further arguments of mke2fs. */
  readonly args?: readonly string[];
}

/** For GuestOptions.tune: what tune2fs can't change. The image's files, which may then be the user's, on a new ext4. */
export function laidOut({
  blockBytes = 4096,
  sizeMiB,
  features = [],
  args = [],
}: Ext4Layout): (raw: string) => Promise<void> {
  return async (raw) => {
    const tool = sh({ env: ext4Env() });
    const tree = `${raw}.tree`;
    await mkdir(tree);
    await tool`debugfs -R ${`rdump / ${tree}`} ${raw}`;
    // Whoever is not root can't make devices, but the image has none.
    const all = [...EXT4_FEATURES, ...features].join(',');
    const journal = features.includes('^has_journal') ? [] : ['-J', 'size=16'];
    const same = ['-i', '8192', '-m', '1', ...journal, '-E', 'nodiscard,root_owner=0:0'];
    const size = sizeMiB === undefined ? [] : [`${sizeMiB}M`];
    await tool`mke2fs -q -F -t ext4 -O ${all} -b ${blockBytes} ${same} ${[...args]} -d ${tree} ${raw} ${size}`;
    await rm(tree, { recursive: true });
    await tool`e2fsck -fn ${raw}`;
  };
}

/** A page of the cache is four of its blocks. */
export const SMALL_BLOCKS: Ext4Layout = { blockBytes: 1024 };
/** Most of the groups were never used, and a descriptor has room for half of a bitmap's sum. */
export const SMALL_GROUPS: Ext4Layout = { features: ['^64bit'], args: ['-g', '2048'] };
/** Blocks are allocated 16 at a time. */
export const CLUSTERS: Ext4Layout = { features: ['bigalloc'], args: ['-C', '65536'] };
/** Small files live in their inodes. */
export const INLINE_DATA: Ext4Layout = { features: ['inline_data'] };
/** The taint of a file that does not any more: Linux 6.12 itself may lose what is stored in it next. */
export const LEFT_INODE = /^its content left its inode$/;
/** The taint of a file whose end was cut off while the journal was still writing it: see linux-falls.test.ts. */
export const CUT_IN_JOURNAL = /^its end was cut while the journal had it$/;
/** As ext3 laid files out: fallocate() is refused. */
export const BLOCK_MAPS: Ext4Layout = { blockBytes: 1024, features: ['^extent', '^64bit'] };
/** Mounted without any option about a journal. */
export const NO_JOURNAL: Ext4Layout = { features: ['^has_journal'] };
/** Times in whole seconds from 1901 to 2038, and none of birth; no project ids. */
export const SMALL_INODES: Ext4Layout = { features: ['^extra_isize'], args: ['-I', '128'] };
/** Whose number, UUID and size can be changed while it is mounted; as much room again is behind it. */
export const CHANGEABLE: Ext4Layout = { sizeMiB: 128, features: ['^metadata_csum'], args: ['-g', '8192'] };
