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
        },
      },
      60_000,
    );
    const id = { machine: 'm', bootId: 1n };
    const [first, second] = [connection(), connection()];
    const boot = await boots.claim(id, 1, first);
    boot.ends = new Map();
    boots.release(boot, first);
    const again = boots.claim(id, 1, second);
    await new Promise((resolve) => setImmediate(resolve));
    expect(acts).to.deep.equal(['open', 'closing for good']);
    letGo();
    const reopened = await again;
    expect(acts).to.deep.equal(['open', 'closing for good', 'closed', 'open']);
    boots.release(reopened, second);
    await boots.close();
    expect(acts.slice(4)).to.deep.equal(['closing for now', 'closed']);
    expect([...boots.open]).to.deep.equal([]);
  });
});
