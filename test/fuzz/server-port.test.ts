// SPDX-License-Identifier: MIT
/**
 * Strangers at the receiver's port: random bytes, mutated openings, connections that stay half open, floods of them.
 * An honest sender gets everything through meanwhile.
 *
 *   LEMONA_FUZZ_PEERS   how many strangers, 3000 unless told
 *   LEMONA_SEED         repeats a run
 */
import { rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { expect } from 'chai';
import { ABI_HASH } from '../../lab/abi/layout.js';
import { WIRE_MAGIC, WIRE_VERSION } from '../../lab/abi/wire.js';
import { MODE, packWire } from '../../lab/link/wire.js';
import { expectedNumbers, feed, readStored, SIM_BOOT, startPoint, testFolder } from '../support/wire-point.js';
import { Random } from './random.js';

const PEERS = Number(process.env.LEMONA_FUZZ_PEERS ?? 3000);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
/** Strangers at once: more than the openings that the server allows. */
const CROWD = 80;
const LIMITS = { openings: 40, openingsOfAddress: 40, openingMs: 500 };
const BATCH = 20;

function randomBytes(random: Random, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => random.below(256)));
}

function hello(random: Random): Buffer {
  return packWire('lemona_wire_hello', {
    ...{ magic: WIRE_MAGIC, version: WIRE_VERSION, abi_hash: ABI_HASH, boot_id: SIM_BOOT, cpus: 4, machine: 'm' },
    mode: random.pick([MODE.PLAIN, MODE.NOISE]),
  });
}

/** What a stranger sends; it never has the key. */
const STRANGERS: readonly ((random: Random) => readonly Buffer[])[] = [
  (random) => [randomBytes(random, random.below(4096))],
  (random) => {
    const bytes = hello(random);
    bytes.writeUInt8(random.below(256), random.below(bytes.length));
    return [bytes, randomBytes(random, random.below(200))];
  },
  (random) => [hello(random), randomBytes(random, 48), randomBytes(random, random.below(70_000))],
  (random) => [hello(random).subarray(0, random.below(96))],
  () => [],
];

describe(`strangers at the port of a server (LEMONA_SEED=${SEED})`, () => {
  it(`do not disturb an honest sender, nor bring the server down, ${PEERS} of them`, async () => {
    const random = new Random(SEED);
    const folder = await testFolder();
    const point = await startPoint(folder, { limits: LIMITS, segmentBytes: 1_000_000 });
    const crowd = new Set<Socket>();
    let came = 0;
    let isOver = false;
    const comeOne = () => {
      if (isOver || came >= PEERS) return;
      came++;
      const socket = connect(point.server.port, '127.0.0.1');
      crowd.add(socket);
      socket.on('error', () => {});
      socket.resume();
      socket.once('close', () => {
        crowd.delete(socket);
        comeOne();
      });
      for (const bytes of random.pick(STRANGERS)(random)) socket.write(bytes);
      if (random.oneIn(3)) socket.end();
    };
    const driver = point.driver();
    try {
      for (let i = 0; i < CROWD; i++) comeOne();
      let rounds = 0;
      while (came < PEERS) {
        // A driver that already has 20 more each time would skip numbers: each round is a boot of its own.
        const honest = point.driver('m', MODE.NOISE, SIM_BOOT + BigInt(++rounds));
        feed(honest, BATCH);
        await honest.deliver();
        expect(honest.progress).to.equal(BATCH);
      }
      feed(driver, BATCH);
      await driver.deliver();
      console.log(
        `      ${came} strangers, ${rounds} honest deliveries; ${JSON.stringify([...point.server.refusals])}`,
      );
      expect(point.server.openings).to.be.at.most(LIMITS.openings);
    } finally {
      isOver = true;
      for (const socket of crowd) socket.destroy();
      await point.server.close();
    }
    const { numbers, problems } = await readStored(join(folder, `m-${SIM_BOOT.toString(16)}`));
    expect([numbers, problems]).to.deep.equal([expectedNumbers(4, BATCH), []]);
    await rm(folder, { recursive: true });
  });
});
