// SPDX-License-Identifier: MIT
/**
 * The intake meets a hostile driver that has a key. It is compiled with the sanitizers of addresses and of undefined
 * behaviour, which end it with a report; and whatever it takes must be a whole sub-buffer that was sent.
 *
 *   LEMONA_FUZZ_INTAKE   how many streams, 150 unless told
 *   LEMONA_SEED          repeats a run
 */
import { rm } from 'node:fs/promises';
import { expect } from 'chai';
import { FRAME, frame, MODE, packEnds } from '../../lab/link/wire.js';
import { RIG_CPUS, takeBy } from '../support/intake-rig.js';
import { info, subbuf } from '../support/trace-builder.js';
import { SIM_BOOT, testFolder, testIntake } from '../support/wire-point.js';
import { Random } from './random.js';

const STREAMS = Number(process.env.LEMONA_FUZZ_INTAKE ?? 150);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
const SANITIZED = ['-g', '-fsanitize=address,undefined', '-fno-sanitize-recover=all'];

/** Changes of what goes over the wire, in place or not. */
const ALTER: readonly ((random: Random, wire: Buffer) => Buffer)[] = [
  (_random, wire) => wire,
  (random, wire) => wire.subarray(0, random.below(wire.length)),
  (random, wire) => {
    for (let i = random.below(3); i >= 0; i--) wire[random.below(wire.length)] = random.below(256);
    return wire;
  },
  (random, wire) => {
    wire.writeUInt32LE(
      random.pick([0, 7, 8, 95, 96, 104, 1 << 20, (1 << 20) + 8, 0xffffffff]),
      random.below(wire.length - 4),
    );
    return wire;
  },
  (random, wire) => {
    const at = random.below(wire.length);
    return Buffer.concat([wire.subarray(0, at), wire.subarray(random.below(wire.length))]);
  },
];

/** Frames, most of them good. */
function frames(random: Random): { plain: Buffer[]; subbufs: Buffer[] } {
  const plain: Buffer[] = [];
  const subbufs: Buffer[] = [];
  const next = Array<bigint>(RIG_CPUS).fill(0n);
  for (let i = 1 + random.below(12); i > 0; i--) {
    const cpu = random.below(RIG_CPUS);
    const number = next[cpu] ?? 0n;
    next[cpu] = number + 1n;
    const bytes = subbuf([info('x'.repeat(random.below(random.oneIn(4) ? 200_000 : 300)))], {
      cpu,
      number,
      bootId: SIM_BOOT,
    });
    subbufs.push(bytes);
    plain.push(Buffer.concat(frame(FRAME.SUBBUF, bytes)));
    if (random.oneIn(3)) plain.push(Buffer.concat(frame(random.below(20), Buffer.alloc(8 * random.below(40)))));
    if (random.oneIn(6)) plain.push(Buffer.concat(frame(FRAME.END, packEnds([[cpu, { next: number, all: number }]]))));
  }
  return { plain, subbufs };
}

describe(`a driver that sends anything (LEMONA_SEED=${SEED})`, () => {
  it(`does not bring the intake down, nor get anything in that is no sub-buffer, in ${STREAMS} streams`, async function () {
    this.timeout(600_000);
    process.env.ASAN_OPTIONS = 'detect_leaks=0';
    const program = await testIntake(SANITIZED);
    const folder = await testFolder();
    const random = new Random(SEED);
    const ends = new Map<string, number>();
    for (let i = 0; i < STREAMS; i++) {
      const { plain, subbufs } = frames(random);
      // A change below the cipher is found by the cipher; so most are above it.
      const alter = random.pick(ALTER);
      const mode = random.pick([MODE.PLAIN, MODE.NOISE]);
      const isAbove = mode === MODE.NOISE && !random.oneIn(4);
      const { said, appended } = await takeBy({
        ...{ program, folder, mode, step: random.pick([100, 5000, 65_536]), limit: random.below(400_000) },
        plain: isAbove ? [alter(random, Buffer.concat(plain))] : plain,
        ...(isAbove ? {} : { alter: (wire: Buffer) => alter(random, wire) }),
      });
      const end = said.at(-1);
      expect(end?.said, `stream ${i}`).to.equal('end');
      const status = end?.said === 'end' ? `status ${end.status}` : '';
      ends.set(status, (ends.get(status) ?? 0) + 1);
      for (let at = 0; at < appended.length; ) {
        const found = subbufs.find((bytes) => appended.subarray(at, at + bytes.length).equals(bytes));
        expect(found, `stream ${i}: at byte ${at} is no sub-buffer that was sent`).to.not.equal(undefined);
        at += found?.length ?? 1;
      }
    }
    console.log(`      ${JSON.stringify(Object.fromEntries(ends))}`);
    expect(ends.size).to.be.above(2);
    await rm(folder, { recursive: true });
  });
});
