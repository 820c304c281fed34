// SPDX-License-Identifier: MIT
/**
 * The opening of a connection, the server's side: hello, challenge, and the proof of the key. Until that is done the
 * peer is a stranger: it is given a few hundred bytes of memory and little time.
 */
import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import { ABI_HASH } from '../abi/layout.js';
import { WIRE_KEY_BYTES, WIRE_MAGIC, WIRE_NOISE_TAG_BYTES, WIRE_VERSION } from '../abi/wire.js';
import { CATEGORIES } from '../trace/parts.js';
import type { BootId } from './boots.js';
import { isMachineName } from './machine-key.js';
import { type CipherState, NOISE_DH_BYTES, NoiseHandshake } from './noise.js';
import { MODE, packWire, plainProof, refusal, STATUS, unpackWire, WIRE_SIZE } from './wire.js';
import { type Channel, noiseChannel, plainChannel } from './wire-channel.js';

/** What a server knows of a machine. */
export interface Machine {
  readonly key: Buffer;
  /** `MODE.*` it may use. */
  readonly modes: readonly number[];
}

export interface Opened {
  readonly id: BootId;
  readonly cpus: number;
  readonly mode: number;
  readonly channel: Channel;
  /** What opens the driver's messages; undefined in mode PLAIN. */
  readonly cipher: CipherState | undefined;
  /** Of READY. */
  readonly proof: Buffer;
  /** What came behind it. */
  readonly rest: Buffer;
}

export interface Refused {
  readonly status: number;
  readonly why: string;
  /** As the hello says it; nobody has shown that it is true. */
  readonly machine?: string;
}

/** A kernel can't have more (NR_CPUS_RANGE_END of x86-64); READY has an element for each. */
const CPUS_MAX = 8192;
const HANDSHAKE_BYTES = NOISE_DH_BYTES + WIRE_NOISE_TAG_BYTES;
const NONE = Buffer.alloc(0);

/** Exactly so many bytes of a stream. */
class Taker {
  readonly #chunks: AsyncIterator<Buffer>;
  rest: Buffer = NONE;

  constructor(chunks: AsyncIterator<Buffer>) {
    this.#chunks = chunks;
  }

  /** @returns undefined if the stream ended before */
  async take(bytes: number): Promise<Buffer | undefined> {
    while (this.rest.length < bytes) {
      // A chunk is gone when the next one comes.
      const before = Buffer.from(this.rest);
      const next = await this.#chunks.next().catch(() => undefined);
      if (next === undefined || next.done === true) return undefined;
      this.rest = before.length === 0 ? next.value : Buffer.concat([before, next.value]);
    }
    const taken = Buffer.from(this.rest.subarray(0, bytes));
    this.rest = this.rest.subarray(bytes);
    return taken;
  }
}

export interface OpeningOptions {
  readonly socket: Socket;
  readonly chunks: AsyncIterator<Buffer>;
  readonly serverId: bigint;
  /** No more connections: everybody is told to come again. */
  readonly isBusy: boolean;
  readonly findMachine: (name: string) => Promise<Machine | undefined>;
}

/** The checks of a hello, in the order in which a driver would want to know. */
function helloProblem(hello: ReturnType<typeof parseHello>, isBusy: boolean): Refused | undefined {
  const { machine } = hello;
  if (hello.magic !== WIRE_MAGIC) return { status: STATUS.BAD_FRAME, why: 'not a hello' };
  if (!isMachineName(machine)) return { status: STATUS.UNKNOWN_MACHINE, why: 'not a machine name' };
  if (hello.version !== WIRE_VERSION)
    return { status: STATUS.BAD_VERSION, why: `wire version ${hello.version}, wanted ${WIRE_VERSION}`, machine };
  if (hello.abi_hash !== ABI_HASH)
    return { status: STATUS.BAD_VERSION, why: `records of another version: ABI hash ${hello.abi_hash}`, machine };
  if (hello.cpus === 0 || hello.cpus > CPUS_MAX || (hello.category !== 0 && !CATEGORIES.has(hello.category)))
    return { status: STATUS.BAD_FRAME, why: `a hello with ${hello.cpus} CPUs, category ${hello.category}`, machine };
  if (isBusy) return { status: STATUS.BUSY, why: 'too many connections', machine };
  return undefined;
}

function parseHello(bytes: Buffer) {
  return unpackWire('lemona_wire_hello', bytes);
}

/** Opens a connection; who is refused has been told, if it can be. Undefined: the peer left. */
export async function openWire(options: OpeningOptions): Promise<Opened | Refused | undefined> {
  const { socket, chunks, serverId } = options;
  const taker = new Taker(chunks);
  const helloBytes = await taker.take(WIRE_SIZE.lemona_wire_hello);
  if (helloBytes === undefined) return undefined;
  const hello = parseHello(helloBytes);
  const found = helloProblem(hello, options.isBusy) ?? (await checkMachine(hello, options));
  const isRefused = 'status' in found;
  const challenge = packWire('lemona_wire_challenge', {
    magic: WIRE_MAGIC,
    version: WIRE_VERSION,
    status: isRefused ? found.status : STATUS.OK,
    server_id: serverId,
    nonce: randomBytes(32),
  });
  socket.write(challenge);
  if (isRefused) return found;
  const transcript = Buffer.concat([helloBytes, challenge]);
  const { machine, mode } = hello;
  const id = { machine, bootId: hello.boot_id, category: CATEGORIES.get(hello.category) };
  const proof = await taker.take(mode === MODE.PLAIN ? WIRE_KEY_BYTES : HANDSHAKE_BYTES);
  if (proof === undefined) return undefined;
  const opened =
    mode === MODE.PLAIN
      ? openPlain(found.key, helloBytes, challenge, proof)
      : openNoise(found.key, transcript, proof, socket);
  if (opened === undefined) {
    // Not sealed: there is no key that both have.
    for (const bytes of refusal(STATUS.BAD_KEY)) socket.write(bytes);
    return { status: STATUS.BAD_KEY, why: 'it has not the key of that machine, or its bytes were altered', machine };
  }
  return { id, cpus: hello.cpus, mode, rest: taker.rest, ...opened };
}

async function checkMachine(hello: ReturnType<typeof parseHello>, options: OpeningOptions): Promise<Machine | Refused> {
  const { machine, mode } = hello;
  const known = await options.findMachine(machine);
  if (known === undefined) return { status: STATUS.UNKNOWN_MACHINE, why: 'no such machine is enrolled', machine };
  if (!known.modes.includes(mode)) return { status: STATUS.BAD_MODE, why: `not in mode ${mode}`, machine };
  return known;
}

type Proven = Pick<Opened, 'channel' | 'cipher' | 'proof'>;

function openPlain(key: Buffer, hello: Buffer, challenge: Buffer, proof: Buffer): Proven | undefined {
  if (!timingSafeEqual(proof, plainProof('driver', key, hello, challenge))) return undefined;
  return { channel: plainChannel, cipher: undefined, proof: plainProof('server', key, hello, challenge) };
}

function openNoise(psk: Buffer, prologue: Buffer, message: Buffer, socket: Socket): Proven | undefined {
  const handshake = new NoiseHandshake({ role: 'responder', psk, prologue });
  if (handshake.read(message) === undefined) return undefined;
  const answer = handshake.write(NONE);
  if (answer === undefined) return undefined;
  socket.write(answer);
  const { send, receive } = handshake.split();
  return { channel: noiseChannel(send), cipher: receive.state, proof: Buffer.alloc(WIRE_KEY_BYTES) };
}
