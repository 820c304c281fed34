// SPDX-License-Identifier: MIT
/**
 * What Linux 6.12 itself falls over, so that other tests keep away from it: without the lab's patches and driver. Where
 * one of these fails, Linux has been mended, and what keeps away from it need not any more.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';

describe('Linux, without the lab in it', () => {
  const bench = useBench();

  /*
   * ext4_page_mkwrite() looks twice whether a file's content goes through the journal, and waits for the journal in
   * between. Where it did at first and does not any more, the function that finds blocks was never chosen: NULL.
   */
  it('crashes if a file leaves the journal while it is stored into through a mapping', async () => {
    const program = await guestProgram('journal-flag', bench().folder);
    const error = await bench()
      .record('r', 'chmod +x /root/journal-flag; /root/journal-flag', {
        ...{ config: 'vanilla', smp: 4, mountOptions: 'nodelalloc' },
        copyIn: [{ source: program, destination: '/root/journal-flag' }],
      })
      .catch((thrown: unknown) => thrown);
    expect(error).to.include({ code: 'LAB_GUEST_PANIC' });
    const said = await readFile(path.join(bench().runDir('r'), 'console.log'), 'latin1');
    expect(said).to.match(/NULL pointer dereference.*RIP: 0010:__block_write_begin_int.*ext4_page_mkwrite/s);
  });
});
