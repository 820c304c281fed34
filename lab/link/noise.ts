// SPDX-License-Identifier: MIT
/**
 * Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s (Noise Protocol Framework, revision 34) on node:crypto:
 *
 *   -> psk, e
 *   <- e, ee
 *
 * Bytes that are not authentic are an outcome (`undefined`), not an exception: whoever can reach the port can send them.
 */
import {
  createCipheriv,
  createDecipheriv,
  createHash,
  createHmac,
  createPrivateKey,
  createPublicKey,
  diffieHellman,
  generateKeyPairSync,
  type KeyObject,
} from 'node:crypto';
import { WIRE_KEY_BYTES, WIRE_NOISE_PROTOCOL, WIRE_NOISE_TAG_BYTES } from '../abi/wire.js';

const CIPHER = 'chacha20-poly1305';
const HASH = 'blake2s256';
/** Bytes of a public key of X25519, and of a hash of BLAKE2s. */
export const NOISE_DH_BYTES = 32;
const HASH_BYTES = 32;
const NONE = Buffer.alloc(0);
/** The nonce that only REKEY uses: 4 zeros, 2^64 - 1. */
const REKEY_NONCE = Buffer.from('00000000ffffffffffffffff', 'hex');

/** What stands before the 32 raw bytes of an X25519 key in DER (RFC 8410). */
const DER_PUBLIC = Buffer.from('302a300506032b656e032100', 'hex');
const DER_PRIVATE = Buffer.from('302e020100300506032b656e04220420', 'hex');

/** What somebody else needs to go on with one direction. */
export interface CipherState {
  readonly key: Buffer;
  readonly messages: number;
}

/** One direction under one key: the nonce counts the messages. */
export class NoiseCipher {
  #key: Buffer;
  #messages = 0;

  constructor(key: Buffer) {
    this.#key = key;
  }

  /** Messages since the handshake; REKEY() does not set it back. */
  get messages(): number {
    return this.#messages;
  }

  get state(): CipherState {
    return { key: this.#key, messages: this.#messages };
  }

  #nextNonce(): Buffer {
    const nonce = Buffer.alloc(12);
    nonce.writeBigUInt64LE(BigInt(this.#messages++), 4);
    return nonce;
  }

  /** @returns the ciphertext and its tag */
  encrypt(plain: Buffer, ad: Buffer = NONE): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, this.#nextNonce(), { authTagLength: WIRE_NOISE_TAG_BYTES });
    cipher.setAAD(ad, { plaintextLength: plain.length });
    const body = cipher.update(plain);
    cipher.final();
    return Buffer.concat([body, cipher.getAuthTag()]);
  }

  /** @returns the plaintext, or undefined if the bytes are not authentic: then the connection is over */
  decrypt(sealed: Buffer, ad: Buffer = NONE): Buffer | undefined {
    if (sealed.length < WIRE_NOISE_TAG_BYTES) return undefined;
    const length = sealed.length - WIRE_NOISE_TAG_BYTES;
    const cipher = createDecipheriv(CIPHER, this.#key, this.#nextNonce(), { authTagLength: WIRE_NOISE_TAG_BYTES });
    cipher.setAAD(ad, { plaintextLength: length });
    cipher.setAuthTag(sealed.subarray(length));
    const plain = cipher.update(sealed.subarray(0, length));
    try {
      cipher.final();
    } catch {
      return undefined;
    }
    return plain;
  }

  /** REKEY(): the key becomes the first 32 bytes of its own encryption of zeros. */
  rekey(): void {
    const cipher = createCipheriv(CIPHER, this.#key, REKEY_NONCE, { authTagLength: WIRE_NOISE_TAG_BYTES });
    this.#key = cipher.update(Buffer.alloc(WIRE_KEY_BYTES));
  }
}

function hash(...parts: readonly Buffer[]): Buffer {
  const h = createHash(HASH);
  for (const part of parts) h.update(part);
  return h.digest();
}

export function hmac(key: Buffer, ...parts: readonly Buffer[]): Buffer {
  const h = createHmac(HASH, key);
  for (const part of parts) h.update(part);
  return h.digest();
}

/** HKDF as Noise defines it: `outputs` times 32 bytes. */
function hkdf(chainingKey: Buffer, input: Buffer, outputs: 2 | 3): Buffer[] {
  const temp = hmac(chainingKey, input);
  const out: Buffer[] = [];
  for (let i = 1; i <= outputs; i++) out.push(hmac(temp, out.at(-1) ?? NONE, Buffer.from([i])));
  return out;
}

export interface NoiseOptions {
  readonly role: 'initiator' | 'responder';
  readonly psk: Buffer;
  readonly prologue: Buffer;
  /** Raw private key; drawn at random unless a test tells it. */
  readonly ephemeral?: Buffer;
}

/** The two messages, in order; then `split`. */
export class NoiseHandshake {
  readonly #role: NoiseOptions['role'];
  readonly #psk: Buffer;
  readonly #ephemeral: KeyObject;
  #remote: KeyObject | undefined;
  #chainingKey: Buffer;
  #hash: Buffer;
  #cipher: NoiseCipher | undefined;
  /** Messages that were written or read. */
  #step = 0;

  constructor(options: NoiseOptions) {
    this.#role = options.role;
    this.#psk = options.psk;
    this.#ephemeral =
      options.ephemeral === undefined
        ? generateKeyPairSync('x25519').privateKey
        : createPrivateKey({ key: Buffer.concat([DER_PRIVATE, options.ephemeral]), format: 'der', type: 'pkcs8' });
    const name = Buffer.from(WIRE_NOISE_PROTOCOL);
    this.#hash = name.length <= HASH_BYTES ? Buffer.concat([name, Buffer.alloc(HASH_BYTES - name.length)]) : hash(name);
    this.#chainingKey = this.#hash;
    this.#mixHash(options.prologue);
  }

  #mixHash(data: Buffer): void {
    this.#hash = hash(this.#hash, data);
  }

  #mixKey(input: Buffer): void {
    const [chainingKey = NONE, key = NONE] = hkdf(this.#chainingKey, input, 2);
    this.#chainingKey = chainingKey;
    this.#cipher = new NoiseCipher(key);
  }

  #mixPsk(): void {
    const [chainingKey = NONE, mixed = NONE, key = NONE] = hkdf(this.#chainingKey, this.#psk, 3);
    this.#chainingKey = chainingKey;
    this.#mixHash(mixed);
    this.#cipher = new NoiseCipher(key);
  }

  /** Token `e`: with a psk in the pattern the public key goes into the key as well. */
  #mixPublic(raw: Buffer): void {
    this.#mixHash(raw);
    this.#mixKey(raw);
  }

  /** Token `ee`; false if the other's key is one that gives nothing secret (all zeros). */
  #mixShared(): boolean {
    if (this.#remote === undefined) throw new Error('noise: ee before both e');
    try {
      this.#mixKey(diffieHellman({ privateKey: this.#ephemeral, publicKey: this.#remote }));
      return true;
    } catch {
      return false;
    }
  }

  /** Whose turn it is: the first message is the initiator's. */
  #begin(what: 'write' | 'read'): void {
    const isOurs = (this.#step === 0) === (this.#role === 'initiator');
    if (this.#step > 1 || isOurs !== (what === 'write'))
      throw new Error(`noise: ${what} by the ${this.#role} after ${this.#step} messages`);
    if (this.#step === 0) this.#mixPsk();
  }

  #cipherNow(): NoiseCipher {
    if (this.#cipher === undefined) throw new Error('noise: no key yet');
    return this.#cipher;
  }

  /** @returns the next message, or undefined if the other's public key is no good */
  write(payload: Buffer): Buffer | undefined {
    this.#begin('write');
    const spki = createPublicKey(this.#ephemeral).export({ format: 'der', type: 'spki' });
    const raw = spki.subarray(spki.length - NOISE_DH_BYTES);
    this.#mixPublic(raw);
    if (this.#step === 1 && !this.#mixShared()) return undefined;
    const sealed = this.#cipherNow().encrypt(payload, this.#hash);
    this.#mixHash(sealed);
    this.#step++;
    return Buffer.concat([raw, sealed]);
  }

  /** @returns the payload, or undefined if the message is not authentic */
  read(message: Buffer): Buffer | undefined {
    this.#begin('read');
    if (message.length < NOISE_DH_BYTES) return undefined;
    const raw = message.subarray(0, NOISE_DH_BYTES);
    this.#remote = createPublicKey({ key: Buffer.concat([DER_PUBLIC, raw]), format: 'der', type: 'spki' });
    this.#mixPublic(raw);
    if (this.#step === 1 && !this.#mixShared()) return undefined;
    const sealed = message.subarray(NOISE_DH_BYTES);
    const payload = this.#cipherNow().decrypt(sealed, this.#hash);
    if (payload === undefined) return undefined;
    this.#mixHash(sealed);
    this.#step++;
    return payload;
  }

  /** After both messages: a cipher for each direction. */
  split(): { readonly send: NoiseCipher; readonly receive: NoiseCipher } {
    if (this.#step !== 2) throw new Error(`noise: split after ${this.#step} messages`);
    const [first = NONE, second = NONE] = hkdf(this.#chainingKey, NONE, 2);
    const [send, receive] = this.#role === 'initiator' ? [first, second] : [second, first];
    return { send: new NoiseCipher(send), receive: new NoiseCipher(receive) };
  }
}
