// SPDX-License-Identifier: MIT
/** A machine's name, and its key from a passphrase. */
import { scrypt } from 'node:crypto';
import { WIRE_KDF, WIRE_KEY_BYTES } from '../abi/wire.js';

/** A name is a part of file names too: it begins with a letter or digit. */
const MACHINE = /^[a-z0-9][a-z0-9._-]{0,63}$/;

export function isMachineName(name: string): boolean {
  return MACHINE.test(name);
}

/** scrypt as `docs/wire.md` says: slow on purpose, and of 32 MiB. */
export function keyFromPassphrase(machine: string, passphrase: string): Promise<Buffer> {
  const { cost, blockSize, parallelism, saltPrefix } = WIRE_KDF;
  // Node counts the memory a little more strictly than 128 · N · r.
  const options = { N: cost, r: blockSize, p: parallelism, maxmem: 2 * 128 * cost * blockSize };
  return new Promise((resolve, reject) => {
    scrypt(passphrase, saltPrefix + machine, WIRE_KEY_BYTES, options, (error, key) => {
      if (error === null) resolve(key);
      else reject(error);
    });
  });
}
