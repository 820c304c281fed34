// SPDX-License-Identifier: MIT
/**
 * Strangers as a process of their own: so many at once, and another one for each that is thrown out.
 *
 *   strangers-main.ts PORT SEED CROWD
 *
 * Each line of stdin is the name of an attack, or `peace`; when that is so, a line of stdout says how many have come.
 */
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { Random } from './random.js';
import { ATTACKS, type Attack, STRANGERS } from './strangers.js';

/** They come from some addresses; the honest sender is at one of them. */
const ADDRESSES = 4;

const [port = 0, seed = 0, size = 0] = process.argv.slice(2).map(Number);
const random = new Random(seed);
const crowd = new Set<Socket>();
let attack: Attack | undefined;
let came = 0;
let tell = () => {};

function comeOne(): void {
  const localAddress = `127.0.0.${1 + random.below(ADDRESSES)}`;
  const socket = connect({ port, host: '127.0.0.1', localAddress });
  crowd.add(socket);
  socket.on('error', () => {});
  socket.resume();
  socket.once('connect', () => {
    came++;
    tell();
    if (attack !== undefined) random.pick(STRANGERS[attack])(random, socket);
  });
  socket.once('close', () => {
    crowd.delete(socket);
    tell();
    if (attack !== undefined) comeOne();
  });
}

function until(isSo: () => boolean): Promise<void> {
  return new Promise((resolve) => {
    tell = () => {
      if (isSo()) resolve();
    };
    tell();
  });
}

for await (const line of createInterface({ input: process.stdin })) {
  attack = ATTACKS.find((name) => name === line);
  for (const socket of crowd) socket.destroy();
  const wanted = came + size;
  if (attack === undefined) await until(() => crowd.size === 0);
  else {
    for (let i = 0; i < size; i++) comeOne();
    await until(() => came >= wanted);
  }
  process.stdout.write(`${came}\n`);
}
process.exit(0);
