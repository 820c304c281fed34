// SPDX-License-Identifier: MIT
/**
 * What Linux 6.12 itself does wrong, without the lab's patches and driver, and what the lab makes of it. Where one of the
 * first group fails, Linux has been mended: what keeps away from it, or is there for it, need not be any more.
 */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { type Bench, describeVerdict, type GuestOptions, useBench } from '../harness/boot.js';
import { CUT_IN_JOURNAL, laidOut, SMALL_BLOCKS } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { taintsOf } from '../harness/taints.js';

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

  /*
   * ext4_truncate_failed_write() does not wait, as ext4_setattr() does, until the journal has done with the buffers behind
   * the new end: they stay mapped, their blocks are freed, and what is written to them next is in blocks of nobody.
   */
  it('loses the end of a write whose source ends early, through the journal', async () => {
    expect(await lostBy(bench(), { config: 'vanilla' })).not.to.deep.equal([]);
  });
});

/** Files that lost what was written to them, under a journal that takes content, four blocks to a page. */
async function lostBy(bench: Bench, options: GuestOptions): Promise<{ ino: bigint; name: string }[]> {
  const program = await guestProgram('short-write', bench.folder);
  const script = 'mkdir /root/w; cd /root/w; chmod +x ../short-write; ../short-write; lemona-mark done';
  const { output } = await bench.record('r', script, {
    ...{ smp: 4, tune: laidOut(SMALL_BLOCKS), mountOptions: 'data=journal', ...options },
    copyIn: [{ source: program, destination: '/root/short-write' }],
  });
  return [...output.matchAll(/^lost (\d+) (\w+)/gm)].map(([, ino, name]) => ({
    ino: BigInt(ino ?? 0),
    name: name ?? '',
  }));
}

describe('a file that loses what was written to it', () => {
  const bench = useBench();

  it('is named by the record, and what else there is is rebuilt', async () => {
    const lost = await lostBy(bench(), {});
    expect(lost).not.to.deep.equal([]);
    const taints = await taintsOf(bench().runDir('r'));
    expect(taints.filter(({ text }) => !CUT_IN_JOURNAL.test(text))).to.deep.equal([]);
    const inDoubt = new Set(taints.map(({ ino }) => ino));
    expect(lost.filter(({ ino }) => !inDoubt.has(ino))).to.deep.equal([]);
    const result = await bench().verify('r', { strict: true });
    const names = new Set(lost.map(({ name }) => `/root/w/${name}`));
    const shown = result.marks.flatMap(({ first }) => first);
    // A verdict keeps only the first ones: were there more, the others would not have been looked at.
    expect(shown.length).to.equal(result.differences);
    expect(shown.filter((difference) => !names.has(difference.path))).to.deep.equal([]);
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
