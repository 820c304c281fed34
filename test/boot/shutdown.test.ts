// SPDX-License-Identifier: MIT
import { setTimeout as sleep } from 'node:timers/promises';
import { expect } from 'chai';
import { accountOf, useBench } from '../harness/boot.js';

/** So slow that hundreds of sub-buffers may wait in QEMU's socket, which is full, when power goes. */
const CHUNK_MS = 1000;

describe('the end of a guest', () => {
  const bench = useBench();

  it('cuts no sub-buffer, however slow the host', async () => {
    // Each CPU's records are sent at once: there is something to send all the time, after the record's end too.
    const { manifest } = await bench().record('r', 'dd if=/dev/urandom of=/root/f bs=64k count=8', {
      smp: 2,
      kernelArgs: ['lemona.flush_ms=1', 'lemona.subbuf_kb=64'],
      tracePace: () => sleep(CHUNK_MS),
    });
    expect(manifest.state).to.equal('complete');
    expect(manifest.trace.tornBytes).to.equal(0);
    expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
  });
});
