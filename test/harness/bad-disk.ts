// SPDX-License-Identifier: MIT
/** Disks of guests with blocks that refuse to be written to, and what host tools know of an image's inodes. */
import { ext4Env } from '../../images/ext4.js';
import type { Machine } from '../../lab/vm/machine.js';
import { sh } from './sh.js';

const SECTOR_BYTES = 512;
/** Of our images. */
const BLOCK_BYTES = 4096;
const DISK_DEVICE = '/machine/peripheral-anon/device[1]/virtio-backend';

/** What debugfs calls the inode of an image's journal. */
export const JOURNAL = '<8>';

export interface Inode {
  readonly ino: bigint;
  readonly gen: number;
}

async function ask(raw: string, request: string): Promise<string> {
  return (await sh({ env: ext4Env() })`debugfs -R ${request} ${raw}`).stdout;
}

/** The inode of that name in an image. */
export async function inodeOn(raw: string, name: string): Promise<Inode | undefined> {
  const [, ino, gen] = /Inode: (\d+)[\s\S]*Generation: (\d+)/.exec(await ask(raw, `stat "${name}"`)) ?? [];
  return ino === undefined ? undefined : { ino: BigInt(ino), gen: Number(gen) };
}

/** The first sector of a block of a file in an image. */
export async function sectorOf(raw: string, name: string, fileBlock: number): Promise<number> {
  const answer = await ask(raw, `bmap ${name} ${fileBlock}`);
  const block = Number(answer.trim());
  if (!Number.isInteger(block) || block === 0) throw new Error(`bmap of ${name} said ${JSON.stringify(answer)}`);
  return (block * BLOCK_BYTES) / SECTOR_BYTES;
}

/**
 * Puts a filter between the guest's disk and its image, in which writes to the block at that sector fail. After the
 * first failure the filter goes: with it the disk could not be marked.
 */
export function breakDisk(machine: Machine, sector: number): void {
  const send = (command: string, args: Record<string, unknown>) => {
    machine.qmp.execute(command, args).catch((error: unknown) => {
      process.stderr.write(`    ${command}: ${String(error)}\n`);
    });
  };
  const rule = { event: 'none', iotype: 'write', errno: 5, sector, once: false, immediately: true };
  send('blockdev-add', { driver: 'blkdebug', 'node-name': 'bad', image: 'disk0', 'inject-error': [rule] });
  send('qom-set', { path: DISK_DEVICE, property: 'drive', value: 'bad' });
  let isBroken = true;
  machine.qmp.onEvent(({ event }) => {
    if (event !== 'BLOCK_IO_ERROR' || !isBroken) return;
    isBroken = false;
    send('qom-set', { path: DISK_DEVICE, property: 'drive', value: 'disk0' });
    send('blockdev-del', { 'node-name': 'bad' });
  });
}
