// SPDX-License-Identifier: MIT
/**
 * What Linux 6.12 itself does wrong, without the lab's patches and driver, and what the lab makes of it. Where one of the
 * first group fails, Linux has been mended: what keeps away from it, or is there for it, need not be any more.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { describeVerdict, useBench } from '../harness/boot.js';
import { laidOut, SMALL_BLOCKS } from '../harness/features.js';
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
    // On a busy host the console of a guest that dies has some letters twice.
    const once = (text: string) => text.replaceAll(/(.)\1+/g, '$1');
    for (const words of ['NULL pointer dereference', 'RIP: 0010:__block_write_begin_int', 'ext4_page_mkwrite'])
      expect(once(said)).to.include(once(words));
  });

  /*
   * ext4_mpage_readpages() forgets no mapping when it leaves a page to another function. The next page, if the file ends
   * before it by now, is then read from the blocks of the page before.
   */
  it('fills a page behind the end of a file with what is before it', async () => {
    const program = await guestProgram('beyond-end', bench().folder);
    const { output } = await bench().record('r', 'cd /root; chmod +x beyond-end; ./beyond-end', {
      ...{ config: 'vanilla', smp: 4, tune: laidOut(SMALL_BLOCKS) },
      copyIn: [{ source: program, destination: '/root/beyond-end' }],
    });
    expect(output).to.match(/^filled [1-9]/m);
  });
});

describe('what Linux puts behind the end of a file', () => {
  const bench = useBench();

  it('is rebuilt if the file grows over it and it gets a block', async () => {
    const program = await guestProgram('beyond-end', bench().folder);
    const script = 'mkdir /root/b; cd /root/b; chmod +x ../beyond-end; ../beyond-end; lemona-mark done';
    const { output } = await bench().record('r', script, {
      ...{ smp: 4, tune: laidOut(SMALL_BLOCKS) },
      copyIn: [{ source: program, destination: '/root/beyond-end' }],
    });
    expect(output).to.match(/^filled [1-9]/m);
    const result = await bench().verify('r', { strict: true });
    expect(describeVerdict(result)).to.equal('');
    expect(result.isEqual).to.equal(true);
  });
});
