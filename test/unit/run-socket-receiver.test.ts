// SPDX-License-Identifier: MIT
import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { MODE } from '../../lab/link/wire.js';
import { listenForGuest, MACHINE } from '../../lab/run/socket-receiver.js';
import { partOf } from '../../lab/trace/parts.js';
import { readSegments } from '../../lab/trace/segment-reader.js';
import { SimConnection, SimDriver } from '../support/sim-driver.js';
import { entry, start, subbuf } from '../support/trace-builder.js';
import { testIntake } from '../support/wire-point.js';

const BOOT = 0x123n;

describe('the receiver of a run', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  it('keeps one record: the other part of the same boot is not written over it, nor acknowledged', async () => {
    const key = randomBytes(32);
    const receiver = await listenForGuest({
      ...{ folder, key, isEncrypted: false, intake: await testIntake() },
      onEvent: () => {},
    });
    const whole = subbuf([start(1n), entry(41, [], [], { flags: FLAG.F_SOCKET })], { bootId: BOOT });
    const options = { port: receiver.port, machine: MACHINE, key, mode: MODE.PLAIN, bootId: BOOT, cpus: 1 };
    const disk = new SimDriver({ ...options, category: FLAG.CATEGORY_DISK });
    disk.put(0, 0n, partOf(whole, 'disk'));
    await disk.deliver();
    const acks: unknown[] = [];
    const network = await SimConnection.open({ ...options, category: FLAG.CATEGORY_NETWORK }).catch(() => undefined);
    if (network !== undefined) {
      network.onAck = (streams) => acks.push(...streams);
      await network.closed;
      expect([...network.ready]).to.deep.equal([]);
    }
    expect(acks).to.deep.equal([]);
    await disk.end();
    await receiver.close();
    const there: Buffer[] = [];
    for await (const item of readSegments(folder)) if (item.type === 'subbuf') there.push(Buffer.from(item.bytes));
    expect(there).to.deep.equal([partOf(whole, 'disk')]);
  });
});
