// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { WIRE_REKEY_MESSAGES } from '../../lab/abi/wire.js';
import type { WireEvent } from '../../lab/link/wire-server.js';
import { listenForGuest } from '../../lab/run/socket-receiver.js';
import { useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { demandWhole } from '../harness/whole.js';

/** Some more than a key lasts. */
const DRAINS = WIRE_REKEY_MESSAGES + 100;

describe('the keys of a connection', () => {
  const bench = useBench();

  it('are renewed each way while one connection of a real driver lasts, and nothing is lost', async () => {
    const told: WireEvent[] = [];
    const { manifest, output } = await bench().record('r', `cd /root; chmod +x drain; ./drain ${DRAINS} && mkdir w`, {
      config: 'static-socket-encrypted',
      kernelArgs: ['lemona.flush_ms=1000000'],
      copyIn: [{ source: await guestProgram('drain', bench().folder), destination: '/root/drain' }],
      listenForGuest: (options) =>
        listenForGuest({
          ...options,
          onEvent: (event) => {
            told.push(event);
            options.onEvent(event);
          },
        }),
    });
    expect([manifest.state, manifest.exitStatus], output).to.deep.equal(['complete', 0]);
    // Each drain waits until what it sent is acknowledged: that is a message there, and one back.
    expect(told.map(({ event }) => event)).to.deep.equal(['connected', 'closed']);
    expect(told[1]?.subbufs).to.be.at.least(DRAINS);
    await demandWhole(bench(), 'r');
  });
});
