// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { senderRow, storedLines } from '../../lab/cli/verbs/status.js';
import { Rates } from '../../lab/server/rates.js';
import type { ServerStatus } from '../../lab/server/status.js';

describe('the state of a logging server', () => {
  it('has rates over the last seconds, by what they are of', () => {
    const rates = new Rates<object>();
    const [one, other] = [{}, {}];
    expect(rates.of(one)).to.equal(0);
    for (let second = 0; second < 30; second++) {
      rates.sample(one, second < 20 ? second * 1000 : 20_000 + (second - 20) * 5000, second * 1000);
      rates.sample(other, 7, second * 1000);
    }
    expect(rates.of(one)).to.equal(5000);
    expect(rates.of(other)).to.equal(0);
  });

  it('tells of the losses of boots that are not connected, and of two histories of any', () => {
    const boot = { machine: 'web1', state: 'recording', forked: undefined };
    const boots = [
      { ...boot, boot: '01', dropped: '0' },
      { ...boot, boot: '02', dropped: '7' },
      { ...boot, boot: '03', dropped: '9', state: 'complete' },
      { ...boot, boot: '04', dropped: undefined, forked: 'why' },
    ];
    const there = [{ machine: 'web1', boot: '02' }] as ServerStatus['senders'];
    const [ended, forked] = ['web1, boot 03 (ended): 9 records LOST', 'web1, boot 04 (away): FORKED: why'];
    expect(storedLines(boots, [])).to.deep.equal(['web1, boot 02 (away): 7 records LOST', ended, forked]);
    expect(storedLines(boots, there)).to.deep.equal([ended, forked]);
    const unreadable = {
      machine: 'web2',
      boot: '05',
      state: 'unreadable',
      problem: 'no JSON',
      dropped: undefined,
      forked: undefined,
    };
    expect(storedLines([unreadable], [])).to.deep.equal(['web2, boot 05: no JSON']);
  });

  it('tells of a sender how far it is behind and what it lost, where it has said so', () => {
    const sender: ServerStatus['senders'][number] = {
      ...({ machine: 'web1', boot: '00', address: '192.0.2.7', mode: 'noise', connectedSeconds: 61 } as const),
      ...({ bytes: 2_500_000, bytesPerSecond: 40_000, subbufs: 9, disk: 'ok' } as const),
      ...{ queued: 12, issued: '5000', dropped: '3', connects: '1', refusals: '0' },
    };
    expect(senderRow(sender).slice(4)).to.deep.equal(['61 s', '2.5 MB', '0.0 MB/s', '12', '5000', '3', 'ok']);
    const silent = { ...sender, queued: null, issued: null, dropped: null };
    expect(senderRow(silent).slice(7, 10)).to.deep.equal(['?', '?', '?']);
  });
});
