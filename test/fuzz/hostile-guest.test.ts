// SPDX-License-Identifier: MIT
/**
 * The long run against the host's decoder and planner: `./lemona test fuzz`. Not part of the default groups; the unit
 * group runs a handful of the same.
 *
 *   LEMONA_FUZZ_FRAMES    mutated frames, 10 million unless told
 *   LEMONA_FUZZ_SEGMENT   a segment of a real run: every byte of it is flipped, and it is cut at every byte
 *   LEMONA_SEED           repeats a run
 */
import { readFile } from 'node:fs/promises';
import { expect } from 'chai';
import { prepareBinding } from '../../lab/store/binding.js';
import { FrameAssembler } from '../../lab/trace/frames.js';
import { SEGMENT_FOOTER_BYTES, SEGMENT_HEADER_BYTES } from '../../lab/trace/segment-format.js';
import { checkHeader, parseSubbuf } from '../../lab/trace/subbuf.js';
import { skip } from '../harness/skip.js';
import { storeContext } from '../harness/store.js';
import { withRun } from '../support/run-builder.js';
import { type FrameCounts, fuzzFrames } from './frames.js';
import { memoryNow } from './memory.js';
import { Random } from './random.js';
import { checkRun, checkStore, hostileRun } from './runs.js';
import { SEED_FRAMES } from './seeds.js';

const FRAMES = Number(process.env.LEMONA_FUZZ_FRAMES ?? 10_000_000);
const SEED = Number(process.env.LEMONA_SEED ?? 1 + Math.floor(Math.random() * 1_000_000));
/** Runs in files take a thousand times as long as frames in memory. */
const FRAMES_A_RUN = 2500;
const FRAMES_A_DATABASE = 10_000;
/** Live memory may move by this: tables that are being filled, compiled code. */
const GROWTH_BYTES = 48 * 1024 * 1024;
/** One stream of four small frames; the machine may be busy with something else, or collect garbage. */
const SLOWEST_MS = 5000;

const MB = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;

describe(`a hostile guest (LEMONA_SEED=${SEED})`, () => {
  it(`cannot make the decoder crash, hang, grow or invent with ${FRAMES} mutated frames`, () => {
    const startedMs = performance.now();
    const warmUp = Math.min(FRAMES, Math.max(100_000, Math.floor(FRAMES / 10)));
    fuzzFrames(SEED_FRAMES, SEED, warmUp);
    const before = memoryNow();
    let mostRss = before.rssBytes;
    const counts: FrameCounts = fuzzFrames(SEED_FRAMES, SEED + 1, FRAMES - warmUp, () => {
      mostRss = Math.max(mostRss, process.memoryUsage.rss());
    });
    const after = memoryNow();
    const seconds = (performance.now() - startedMs) / 1000;
    console.log(
      `      ${FRAMES} frames in ${seconds.toFixed(0)} s (${Math.round(FRAMES / seconds)}/s), slowest stream ${counts.slowestMs.toFixed(0)} ms; ` +
        `live memory ${MB(before.liveBytes)} before, ${MB(after.liveBytes)} after; RSS ${MB(before.rssBytes)} before, ${MB(after.rssBytes)} after, at most ${MB(mostRss)}`,
    );
    console.log(`      after warming up: ${JSON.stringify(counts)}`);
    expect(after.liveBytes - before.liveBytes).to.be.below(GROWTH_BYTES);
    expect(counts.slowestMs).to.be.below(SLOWEST_MS);
  });

  it('cannot make index, merge, plan, instants, events, statistics or analysis crash, hang, grow or invent', async () => {
    const random = new Random(SEED);
    const runs = Math.max(20, Math.floor(FRAMES / FRAMES_A_RUN));
    const { signal } = new AbortController();
    const sum = { subbufs: 0, problems: 0, events: 0 };
    const startedMs = performance.now();
    let before = memoryNow();
    for (let run = 0; run < runs; run++) {
      if (run === Math.floor(runs / 10)) before = memoryNow();
      const frames = hostileRun(random, SEED_FRAMES);
      try {
        const counts = await withRun(
          frames,
          (runDir) => checkRun(random, runDir, signal),
          random.oneIn(4) ? 900 : undefined,
        );
        for (const key of ['subbufs', 'problems', 'events'] as const) sum[key] += counts[key];
      } catch (error) {
        throw new Error(`run ${run}: ${frames.map((frame) => frame.toString('hex')).join(' ')}`, { cause: error });
      }
    }
    const after = memoryNow();
    const seconds = (performance.now() - startedMs) / 1000;
    console.log(
      `      ${runs} runs in ${seconds.toFixed(0)} s: ${JSON.stringify(sum)}; live memory ${MB(before.liveBytes)} before, ${MB(after.liveBytes)} after`,
    );
    expect(sum.problems).to.be.above(0);
    expect(after.liveBytes - before.liveBytes).to.be.below(GROWTH_BYTES);
  });

  it('cannot keep the inserter from loading what is good, each effect once', async () => {
    await prepareBinding(storeContext);
    const random = new Random(SEED);
    const runs = Math.max(20, Math.floor(FRAMES / FRAMES_A_DATABASE));
    const sum = { effects: 0, doubled: 0 };
    for (let run = 0; run < runs; run++) {
      const frames = hostileRun(random, SEED_FRAMES);
      try {
        const counts = await withRun(frames, checkStore, random.oneIn(4) ? 900 : undefined);
        for (const key of ['effects', 'doubled'] as const) sum[key] += counts[key];
      } catch (error) {
        throw new Error(`run ${run}: ${frames.map((frame) => frame.toString('hex')).join(' ')}`, { cause: error });
      }
    }
    console.log(`      ${runs} runs: ${JSON.stringify(sum)}`);
    expect(sum.doubled).to.be.above(0);
  });

  it('cannot get a damaged byte of a real segment past the checksum', async function () {
    const file = process.env.LEMONA_FUZZ_SEGMENT;
    if (file === undefined) skip(this, 'LEMONA_FUZZ_SEGMENT names no segment');
    const segment = await readFile(file);
    const body = segment.subarray(SEGMENT_HEADER_BYTES, segment.length - SEGMENT_FOOTER_BYTES);
    let flips = 0;
    for (let start = 0; start < body.length; ) {
      const check = parseSubbuf(body, start);
      if (!check.ok) throw new Error(`the segment itself is no good at ${start}: ${check.problem.detail}`);
      const end = start + check.header.length;
      const copy = Buffer.from(body.subarray(start, end));
      for (let at = 0; at < copy.length; at++, flips++) {
        const byte = copy.readUInt8(at);
        copy.writeUInt8(byte ^ (1 << (at % 8)), at);
        expect(parseSubbuf(copy).ok, `flip at ${start + at}`).to.equal(false);
        copy.writeUInt8(byte, at);
      }
      // Cut at every byte: what came before is whole, the rest is torn, whatever its length.
      for (let cut = 0; cut < copy.length; cut++) {
        const cutCheck = parseSubbuf(copy.subarray(0, cut));
        expect(!cutCheck.ok && cutCheck.problem.kind, `cut at ${start + cut}`).to.equal('torn');
      }
      const frames = new FrameAssembler();
      for (const event of frames.push(body.subarray(0, end - 1))) expect(event.type).to.equal('subbuf');
      expect(frames.end().type).to.equal('torn');
      expect(checkHeader(copy).ok).to.equal(true);
      start = end;
    }
    console.log(`      ${flips} bytes flipped and cut`);
  });
});
