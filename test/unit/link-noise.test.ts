// SPDX-License-Identifier: MIT
import { createCipheriv, randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { NoiseCipher, NoiseHandshake } from '../../lab/link/noise.js';

const hex = (text: string) => Buffer.from(text, 'hex');

/**
 * Test vector of Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s, as published with cacophony:
 * https://github.com/haskell-cryptography/cacophony, vectors/cacophony.txt (commit 36c1e5c).
 */
const VECTOR = {
  prologue: hex('4a6f686e2047616c74'),
  psk: hex('54686973206973206d7920417573747269616e20706572737065637469766521'),
  initiator: hex('893e28b9dc6ca8d611ab664754b8ceb7bac5117349a4439a6b0569da977c464a'),
  responder: hex('bbdb4cdbd309f1a1f2e1456967fe288cadd6f712d65dc7b7793d5e63da6b375b'),
  /** By turns, the initiator's first. */
  messages: [
    [
      '4c756477696720766f6e204d69736573',
      'ca35def5ae56cec33dc2036731ab14896bc4c75dbb07a61f879f8e3afa4c7944fda936bec35a8adfdff198386f7d5475880897edaaf7495314c99095a2e4d66a',
    ],
    [
      '4d757272617920526f746862617264',
      '95ebc60d2b1fa672c1f46a8aa265ef51bfe38e7ccb39ec5be34069f1448088434cd2a371993ba41ea11448024fca32766b169183c9e691a7a433279da7e729',
    ],
    ['462e20412e20486179656b', 'bc44da303ae0beb08075fc4eb4e58235c67c2d1f53a4f2fff0bca7'],
    ['4361726c204d656e676572', '416d1af83e9fa6966ce4e871156b131aa9bd7e9a1d6f8794f4872a'],
    ['4a65616e2d426170746973746520536179', '8a7d81b77bcc6c072f2b807da066efba6b5fab9edf71a7faceb2c8454b0cfef608'],
    [
      '457567656e2042f6686d20766f6e2042617765726b',
      '1e2ee010f72894824a25a867664ff298f2548a145dc4e9d27b1cad83f32fa7c54d69dc3279',
    ],
  ],
} as const;

function pair(psk: Buffer = VECTOR.psk): { initiator: NoiseHandshake; responder: NoiseHandshake } {
  const { prologue } = VECTOR;
  return {
    initiator: new NoiseHandshake({ role: 'initiator', psk: VECTOR.psk, prologue, ephemeral: VECTOR.initiator }),
    responder: new NoiseHandshake({ role: 'responder', psk, prologue, ephemeral: VECTOR.responder }),
  };
}

describe('Noise NNpsk0', () => {
  it('gives the bytes of the published test vector, and reads them', () => {
    const { initiator, responder } = pair();
    const texts = VECTOR.messages.map(([plain, sealed]) => ({ plain: hex(plain), sealed }));
    const [first, second, ...rest] = texts;
    if (first === undefined || second === undefined) throw new Error('no vector');
    const hello = initiator.write(first.plain);
    expect(hello?.toString('hex')).to.equal(first.sealed);
    expect(responder.read(hello ?? Buffer.alloc(0))).to.deep.equal(first.plain);
    const answer = responder.write(second.plain);
    expect(answer?.toString('hex')).to.equal(second.sealed);
    expect(initiator.read(answer ?? Buffer.alloc(0))).to.deep.equal(second.plain);
    const ends = [initiator.split(), responder.split()] as const;
    for (const [turn, { plain, sealed }] of rest.entries()) {
      const [from, to] = turn % 2 === 0 ? [ends[0], ends[1]] : [ends[1], ends[0]];
      expect(from.send.encrypt(plain).toString('hex')).to.equal(sealed);
      expect(to.receive.decrypt(hex(sealed))).to.deep.equal(plain);
    }
  });

  it('refuses another psk, and every altered byte of either message', () => {
    const hello = hex(VECTOR.messages[0][1]);
    const answer = hex(VECTOR.messages[1][1]);
    expect(pair(randomBytes(32)).responder.read(hello)).to.equal(undefined);
    for (let at = 0; at < hello.length; at++) {
      const altered = Buffer.from(hello);
      altered[at] = (altered[at] ?? 0) ^ 1;
      expect(pair().responder.read(altered), `byte ${at}`).to.equal(undefined);
    }
    for (let at = 0; at < answer.length; at++) {
      const altered = Buffer.from(answer);
      altered[at] = (altered[at] ?? 0) ^ 1;
      const { initiator } = pair();
      initiator.write(hex(VECTOR.messages[0][0]));
      expect(initiator.read(altered), `byte ${at}`).to.equal(undefined);
    }
  });

  it('refuses a public key that makes the shared secret zero', () => {
    const { initiator } = pair();
    initiator.write(Buffer.alloc(0));
    expect(initiator.read(Buffer.alloc(48))).to.equal(undefined);
  });

  it('refuses messages out of turn', () => {
    expect(() => pair().responder.write(Buffer.alloc(0))).to.throw(/write by the responder after 0/);
    expect(() => pair().initiator.read(Buffer.alloc(48))).to.throw(/read by the initiator after 0/);
    expect(() => pair().initiator.split()).to.throw(/split after 0/);
  });

  it('refuses a replayed, a reordered and a cut message', () => {
    const key = randomBytes(32);
    const sender = new NoiseCipher(key);
    const [one, two] = [sender.encrypt(Buffer.from('one')), sender.encrypt(Buffer.from('two'))];
    const receiver = () => new NoiseCipher(key);
    expect(receiver().decrypt(two), 'reordered').to.equal(undefined);
    expect(receiver().decrypt(one.subarray(0, one.length - 1)), 'cut').to.equal(undefined);
    expect(receiver().decrypt(Buffer.alloc(3)), 'shorter than a tag').to.equal(undefined);
    const replayed = receiver();
    expect(String(replayed.decrypt(one))).to.equal('one');
    expect(replayed.decrypt(one), 'replayed').to.equal(undefined);
  });

  it('renews a key by REKEY: block 1 of the ChaCha20 key stream under nonce 2^64 - 1, the nonce going on', () => {
    const key = randomBytes(32);
    const cipher = new NoiseCipher(key);
    cipher.encrypt(Buffer.from('before'));
    cipher.rekey();
    // ChaCha20's own block counter is 1 for the first block of an AEAD's text (RFC 8439, 2.8).
    const at = Buffer.concat([hex('01000000'), hex('00000000ffffffffffffffff')]);
    const renewed = createCipheriv('chacha20', key, at).update(Buffer.alloc(32));
    const nonce = Buffer.alloc(12);
    nonce.writeUInt32LE(1, 4);
    const wanted = createCipheriv('chacha20-poly1305', renewed, nonce, { authTagLength: 16 });
    const body = Buffer.concat([wanted.update(Buffer.from('after')), wanted.final()]);
    expect(cipher.encrypt(Buffer.from('after'))).to.deep.equal(Buffer.concat([body, wanted.getAuthTag()]));
  });
});
