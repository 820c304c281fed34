// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { catchInterrupts } from '../../lab/proc/interrupt.js';

describe('interrupts', () => {
  it('kill where the closing comes to no end', async () => {
    const ended = new Promise<number>((resolve) => {
      const interrupts = catchInterrupts({
        closeMs: 20,
        exit: (status) => {
          interrupts.dispose();
          resolve(status);
        },
      });
    });
    process.emit('SIGTERM', 'SIGTERM');
    // The watchdog alone keeps no process alive.
    const alive = setInterval(() => {}, 1000);
    expect(await ended).to.equal(143);
    clearInterval(alive);
  });

  it('close at the first, count one that comes twice as one, and kill at the second', () => {
    let nowMs = 0;
    const statuses: number[] = [];
    const names: string[] = [];
    const interrupts = catchInterrupts({
      onFirst: (name) => names.push(name),
      exit: (status) => statuses.push(status),
      now: () => nowMs,
    });
    try {
      process.emit('SIGINT', 'SIGINT');
      expect(interrupts.signal.aborted).to.equal(true);
      nowMs = 100;
      process.emit('SIGINT', 'SIGINT');
      expect(statuses).to.deep.equal([]);
      nowMs = 900;
      process.emit('SIGTERM', 'SIGTERM');
      expect([names, statuses]).to.deep.equal([['SIGINT'], [143]]);
    } finally {
      interrupts.dispose();
    }
  });
});
