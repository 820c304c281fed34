// SPDX-License-Identifier: MIT
/** What strangers do at the port of a server. None of them has the key. */
import type { Socket } from 'node:net';
import { ABI_HASH } from '../../lab/abi/layout.js';
import { WIRE_MAGIC, WIRE_VERSION } from '../../lab/abi/wire.js';
import { NoiseHandshake } from '../../lab/link/noise.js';
import { MODE, packWire, WIRE_SIZE } from '../../lab/link/wire.js';
import { SIM_BOOT } from '../support/wire-point.js';
import type { Random } from './random.js';

/** Does its worst with a connection. */
export type Stranger = (random: Random, socket: Socket) => void;

const POOL_BYTES = 1024 * 1024;
/** Between two bytes of a slow one. */
const DRIP_MS = 40;

/** Made once: a stranger costs itself less than the server. */
let pool: Buffer | undefined;

function randomBytes(random: Random, length: number): Buffer {
  pool ??= Buffer.from(Array.from({ length: POOL_BYTES }, () => random.below(256)));
  const at = random.below(POOL_BYTES - length);
  return pool.subarray(at, at + length);
}

function hello(mode: number): Buffer {
  return packWire('lemona_wire_hello', {
    ...{ magic: WIRE_MAGIC, version: WIRE_VERSION, abi_hash: ABI_HASH, boot_id: SIM_BOOT, cpus: 4, machine: 'm' },
    mode,
  });
}

function someHello(random: Random): Buffer {
  return hello(random.pick([MODE.PLAIN, MODE.NOISE]));
}

/** Writes what `make` makes, and may close its side. */
function writes(make: (random: Random) => readonly Buffer[]): Stranger {
  return (random, socket) => {
    for (const bytes of make(random)) socket.write(bytes);
    if (random.oneIn(3)) socket.end();
  };
}

/** A whole handshake of Noise with a key that it makes up: what costs the server most. */
function shakeHands(random: Random, socket: Socket): void {
  const first = hello(MODE.NOISE);
  socket.write(first);
  let got: Buffer = Buffer.alloc(0);
  const take = (chunk: Buffer) => {
    got = Buffer.concat([got, chunk]);
    if (got.length < WIRE_SIZE.lemona_wire_challenge) return;
    socket.off('data', take);
    const prologue = Buffer.concat([first, got.subarray(0, WIRE_SIZE.lemona_wire_challenge)]);
    const handshake = new NoiseHandshake({ role: 'initiator', psk: randomBytes(random, 32), prologue });
    socket.write(handshake.write(Buffer.alloc(0)) ?? '');
  };
  socket.on('data', take);
}

/** An opening that takes as long as it may. */
function drip(random: Random, socket: Socket): void {
  const bytes = someHello(random);
  let at = 0;
  const timer = setInterval(() => socket.write(bytes.subarray(at, ++at)), DRIP_MS);
  socket.once('close', () => clearInterval(timer));
}

export const STRANGERS = {
  'random bytes': [
    writes((random) => [randomBytes(random, random.below(4096))]),
    writes((random) => [someHello(random), randomBytes(random, 48), randomBytes(random, random.below(70_000))]),
  ],
  'mutated openings': [
    writes((random) => {
      const bytes = someHello(random);
      bytes.writeUInt8(random.below(256), random.below(bytes.length));
      return [bytes, randomBytes(random, random.below(200))];
    }),
    writes((random) => [someHello(random).subarray(0, random.below(96))]),
  ],
  'slow senders': [drip],
  'half-open connections': [() => {}],
  'a flood of handshakes': [shakeHands],
} as const satisfies Record<string, readonly Stranger[]>;

export type Attack = keyof typeof STRANGERS;
export const ATTACKS = Object.keys(STRANGERS) as Attack[];
