// SPDX-License-Identifier: MIT
/**
 * The other side of hash-thread.ts, which says what lies in the ring. It has no loader: plain JavaScript, and CommonJS, which
 * is read at once; a module's file would stay open if the thread were ended while it is loaded.
 */
const { createHash } = require('node:crypto');
const { parentPort, workerData } = require('node:worker_threads');

const { state, ring, ops } = workerData;
const [WRITTEN, READ] = [0, 1];
const heads = new Int32Array(ring.buffer);
const hashes = new Map();

for (let read = 0; ; ) {
  // Woken is not written: the call may be for an element that was read without it.
  while (Atomics.load(state, WRITTEN) === read) Atomics.wait(state, WRITTEN, read);
  const at = (read >>> 0) % ring.length;
  const [op, id, length] = heads.subarray(at / 4, at / 4 + 3);
  const hash = hashes.get(id) ?? createHash('sha256');
  if (op === ops.UPDATE) hashes.set(id, hash.update(ring.subarray(at + 16, at + 16 + length)));
  else if (op === ops.DIGEST) parentPort.postMessage({ id, digest: hash.copy().digest() });
  else hashes.delete(id);
  read = (read + 16 + Math.ceil(length / 16) * 16) | 0;
  Atomics.store(state, READ, read);
  Atomics.notify(state, READ);
}
