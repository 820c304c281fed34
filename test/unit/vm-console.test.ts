// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { GuestConsole } from '../../lab/vm/console.js';

function write(guestConsole: GuestConsole, text: string): Promise<void> {
  return new Promise((resolve) => guestConsole.write(Buffer.from(text), resolve));
}

describe("the guest's console", () => {
  it('shows the screen as a person would see it', async () => {
    const guestConsole = new GuestConsole();
    await write(guestConsole, 'first\r\nwrong\rright\r\n\x1b[31mred\x1b[0m\r\n');
    expect(guestConsole.screen()).to.deep.equal(['first', 'right', 'red']);
    expect(guestConsole.tail()).to.equal('first\nwrongright\nred');
    guestConsole.dispose();
    expect(guestConsole.screen()).to.have.length(3);
  });

  it('keeps a panic and what follows it, even cut in pieces', async () => {
    const guestConsole = new GuestConsole();
    const crashes: string[] = [];
    guestConsole.onCrash((line) => crashes.push(line));
    await write(guestConsole, '[    1.0] fine\r\n[    1.5] Kernel pan');
    await write(guestConsole, 'ic - not syncing: dead\r\n[    1.6] Call Trace:\r\n');
    expect(crashes).to.deep.equal(['[    1.5] Kernel panic - not syncing: dead']);
    expect(guestConsole.crash).to.equal('[    1.5] Kernel panic - not syncing: dead\n[    1.6] Call Trace:');
    guestConsole.dispose();
  });

  it('takes no ordinary line for a crash', async () => {
    const guestConsole = new GuestConsole();
    await write(guestConsole, 'DEBUG: x\r\nOops I did it\r\nkernel panic is a phrase\r\n');
    expect(guestConsole.crash).to.equal(undefined);
    guestConsole.dispose();
  });

  it('holds little of a line that never ends', async () => {
    const guestConsole = new GuestConsole();
    for (let index = 0; index < 50; index++) await write(guestConsole, 'x'.repeat(10_000));
    await write(guestConsole, '\r\n');
    expect(guestConsole.tail().length).to.be.at.most(4096);
    guestConsole.dispose();
  });
});
