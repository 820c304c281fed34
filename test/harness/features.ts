// SPDX-License-Identifier: MIT
/** Images whose ext4 has more features than ours have. */
import { ext4Env } from '../../images/ext4.js';
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
