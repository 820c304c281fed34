// SPDX-License-Identifier: MIT
/** An intake alone: bytes go in by a socket, it is lent one file, and what it says is kept. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { Intake, type Said } from '../../lab/link/intake.js';
import { NoiseCipher } from '../../lab/link/noise.js';
import { MODE } from '../../lab/link/wire.js';
import { noiseChannel, plainChannel } from '../../lab/link/wire-channel.js';
import { SIM_BOOT } from './wire-point.js';

export const RIG_CPUS = 4;
/** What stands in the file before the first sub-buffer. */
const HEAD = Buffer.from('0123456789abcdef');

export interface Taken {
  readonly said: Said[];
  /** What it says that it appended. */
  readonly appended: Buffer;
  /** The digest of the file when a second lease was wanted, and of `extra` behind it. */
  readonly digest: Buffer | undefined;
  readonly fileBytes: number;
}

export interface RigOptions {
  readonly program: string;
  readonly folder: string;
  readonly mode: number;
  /** Frames, before they are sealed. */
  readonly plain: readonly Buffer[];
  /** Changes what goes over the wire. */
  readonly alter?: (wire: Buffer) => Buffer;
  /** Bytes of each write; each is a segment of TCP, or nearly. */
  readonly step?: number;
  /** Bytes of sub-buffers in the first lease. */
  readonly limit?: number;
  /** Hashed behind the file. */
  readonly extra?: Buffer;
  /** What is in the file behind the place that is lent. */
  readonly behind?: Buffer;
}

/** Two ends of a connection; nobody has read from the near one. */
export async function socketPair(): Promise<[near: Socket, far: Socket]> {
  const server = createServer({ pauseOnConnect: true }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const far = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', noDelay: true });
  const [near] = (await once(server, 'connection')) as [Socket];
  server.close();
  return [near, far];
}

/** Sends all of it, and closes. */
export async function takeBy(options: RigOptions): Promise<Taken> {
  const { program, folder, mode, plain, alter = (wire) => wire, step = 65_536, limit = 1 << 30, extra } = options;
  const { behind = Buffer.alloc(0) } = options;
  const key = randomBytes(32);
  const channel = mode === MODE.NOISE ? noiseChannel(new NoiseCipher(key)) : plainChannel;
  const wire = alter(Buffer.concat(plain.flatMap((bytes) => channel.seal([bytes]))));
  const [near, far] = await socketPair();
  far.on('error', () => {});
  near.on('error', () => {});
  far.resume();
  const first = wire.subarray(0, Math.min(step, 1024));
  const intake = new Intake(program, near, {
    ...{ mode, cpus: RIG_CPUS, bootId: SIM_BOOT, silenceMs: 20_000, stored: new Map(), first },
    cipher: mode === MODE.NOISE ? new NoiseCipher(key).state : undefined,
  });
  const path = join(folder, `taken-${mode}`);
  await writeFile(path, Buffer.concat([HEAD, behind]));
  const said: Said[] = [];
  let end = HEAD.length;
  let leases = 0;
  let digest: Buffer | undefined;
  const lend = async () => {
    if (leases++ === 1 && extra !== undefined) digest = await intake.digest({ path, end }, extra);
    intake.lease({ path, position: end, limit: leases === 1 ? HEAD.length + limit : 1 << 30 });
  };
  const heard = intake.listen(async (word) => {
    said.push(word);
    if (word.said === 'appended') end += word.length;
    if (word.said === 'want') void lend();
  });
  for (let at = first.length; at < wire.length && !far.destroyed; at += step) {
    if (!far.write(wire.subarray(at, at + step))) await Promise.race([once(far, 'drain'), once(far, 'close')]);
    // Else what was written is sent together.
    if (step < 1000) await new Promise((resolve) => setImmediate(resolve));
  }
  far.end();
  await heard;
  await intake.gone();
  near.destroy();
  const file = await readFile(path);
  return { said, digest, appended: file.subarray(HEAD.length, end), fileBytes: file.length };
}

/** The digest is of these. */
export function fileOf(appended: Buffer, extra: Buffer): Buffer {
  return Buffer.concat([HEAD, appended, extra]);
}
