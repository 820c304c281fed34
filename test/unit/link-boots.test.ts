// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import type { BootStore } from '../../lab/link/boot-store.js';
import { type BootOwner, Boots } from '../../lab/link/boots.js';

/** A store that nobody writes to. */
const emptyStore = () => ({ flush: async () => {}, close: async () => {} }) as unknown as BootStore;

const connection = (): BootOwner => ({ refuse: () => {}, done: Promise.resolve() });

describe('boots of machines', () => {
  it('are not opened again before they are closed', async () => {
    const acts: string[] = [];
    let letGo = (): void => {};
    const held = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const boots = new Boots(
      {
        open: async () => {
          acts.push('open');
          return emptyStore();
        },
        closed: async (_id, _store, ends) => {
          acts.push(`closing ${ends ? 'for good' : 'for now'}`);
          await held;
          acts.push('closed');
          return true;
        },
      },
      60_000,
    );
    const id = { machine: 'm', bootId: 1n };
    const [first, second] = [connection(), connection()];
    const boot = await boots.claim(id, 1, first);
    boot.ends = new Map();
    void boots.release(boot, first);
    const again = boots.claim(id, 1, second);
    await new Promise((resolve) => setImmediate(resolve));
    expect(acts).to.deep.equal(['open', 'closing for good']);
    letGo();
    const reopened = await again;
    expect(acts).to.deep.equal(['open', 'closing for good', 'closed', 'open']);
    void boots.release(reopened, second);
    await boots.close();
    expect(acts.slice(4)).to.deep.equal(['closing for now', 'closed']);
    expect([...boots.open]).to.deep.equal([]);
  });

  it('keep in mind that another history came while their store was being opened again', async () => {
    const noted: string[] = [];
    let letGo = (): void => {};
    let held = Promise.resolve();
    let disk = 'good';
    const boots = new Boots(
      {
        open: async () => {
          await held;
          if (disk === 'full') throw new Error('no space');
          return emptyStore();
        },
        closed: async () => true,
        forked: async (_id, why) => {
          if (disk === 'full') throw new Error('no space');
          noted.push(why);
        },
      },
      60_000,
    );
    const hold = () => {
      held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
    };
    const first = connection();
    const boot = await boots.claim({ machine: 'm', bootId: 1n }, 1, first);
    hold();
    const reopened = boots.reopen(boot, new Map());
    await boots.fork(boot, 'put back');
    expect(noted).to.deep.equal([]);
    letGo();
    await reopened;
    expect([noted, boot.store?.forked]).to.deep.equal([['put back'], 'put back']);
    void boots.release(boot, first);

    // Where it cannot be opened at all, whoever opens it next notes it.
    const second = connection();
    const other = await boots.claim({ machine: 'm', bootId: 2n }, 1, second);
    hold();
    disk = 'full';
    const failed = boots.reopen(other, new Map()).catch(() => {});
    await boots.fork(other, 'copied');
    letGo();
    await failed;
    await boots.release(other, second);
    disk = 'good';
    const third = connection();
    const again = await boots.claim({ machine: 'm', bootId: 2n }, 1, third);
    expect([noted, again.store?.forked]).to.deep.equal([['put back', 'copied'], 'copied']);
    // Nor is it forgotten where only the note of it did not fit.
    disk = 'full';
    expect(await boots.fork(again, 'a third').catch(String)).to.equal('Error: no space');
    disk = 'good';
    void boots.release(again, third);
    await boots.close();
    expect([noted, [...boots.open]]).to.deep.equal([['put back', 'copied', 'a third'], []]);
  });
});
