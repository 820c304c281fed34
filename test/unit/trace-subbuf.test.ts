// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import fc from 'fast-check';
import { AT, FLAG } from '../../lab/abi/layout.js';
import { FrameAssembler, type FrameEvent } from '../../lab/trace/frames.js';
import { decodeRecords } from '../../lab/trace/record.js';
import { parseSubbuf } from '../../lab/trace/subbuf.js';
import { surveySubbuf } from '../../lab/trace/walk.js';
import * as b from '../support/trace-builder.js';

const SAMPLE = b.subbuf([
  b.entry(1, [3, 4096, 5], [b.tlv('BUF_IN', 'hello', { arg: 1 })]),
  b.write({ seq: 7n }, 10n, 'hello'),
  b.exit(1, 5),
  b.nop(8n),
]);

function push(chunks: readonly Buffer[]): { events: FrameEvent[]; frames: FrameAssembler } {
  const frames = new FrameAssembler();
  return { events: chunks.flatMap((chunk) => [...frames.push(chunk)]), frames };
}

describe('sub-buffer', () => {
  it('is parsed into its header', () => {
    const check = parseSubbuf(SAMPLE);
    expect(check.ok).to.equal(true);
    if (!check.ok) return;
    expect(check.header).to.include({
      cpu: 0,
      length: SAMPLE.length,
      seqFirst: 7n,
      seqLast: 8n,
      records: 4,
      effects: 2,
    });
    expect(surveySubbuf(SAMPLE, check.header).problem).to.equal(undefined);
  });

  it('is refused after a flip of any bit, whatever the byte', () => {
    for (let at = 0; at < SAMPLE.length; at++) {
      for (let bit = 0; bit < 8; bit++) {
        const copy = Buffer.from(SAMPLE);
        copy[at] = (copy[at] ?? 0) ^ (1 << bit);
        expect(parseSubbuf(copy).ok, `byte ${at} bit ${bit}`).to.equal(false);
      }
    }
  });

  it('is torn when cut at any byte', () => {
    for (let at = 0; at < SAMPLE.length; at++) {
      const check = parseSubbuf(SAMPLE.subarray(0, at));
      expect(!check.ok && check.problem.kind, `cut at ${at}`).to.equal('torn');
    }
  });

  it('of another format is named as such', () => {
    const change = (at: number, value: number): string | false => {
      const copy = Buffer.from(SAMPLE);
      copy.writeUInt32LE(value, at);
      const check = parseSubbuf(b.reseal(copy));
      return !check.ok && check.problem.kind;
    };
    expect(change(AT.lemona_subbuf.magic, 1)).to.equal('foreign');
    expect(change(AT.lemona_subbuf.version, 2)).to.equal('foreign');
    expect(change(AT.lemona_subbuf.abi_hash, 1)).to.equal('abi');
    expect(change(AT.lemona_subbuf.length, 100)).to.equal('corrupt');
    expect(change(AT.lemona_subbuf.length, 88)).to.equal('corrupt');
    expect(change(AT.lemona_subbuf.length, 2 ** 31)).to.equal('corrupt');
  });

  it('whose header lies about its records is found out though its checksum is good', () => {
    for (const [field, wrong] of [
      ['records', 5],
      ['effects', 1],
      ['seq_first', 6],
      ['seq_last', 9],
    ] as const) {
      const copy = Buffer.from(SAMPLE);
      copy.writeUInt32LE(wrong, AT.lemona_subbuf[field]);
      const check = parseSubbuf(b.reseal(copy));
      expect(check.ok && surveySubbuf(copy, check.header).problem, field).to.match(/its header says/);
    }
  });

  it('collects declared losses and notices effects that do not ascend', () => {
    const bytes = b.subbuf([
      b.nop(9n),
      b.nop(8n),
      b.loss(FLAG.LOSS_NO_BUFFER, { seq_first: 3n, seq_last: 5n, effects: 3, records: 10 }),
    ]);
    const check = parseSubbuf(bytes);
    if (!check.ok) throw new Error(check.problem.detail);
    const survey = surveySubbuf(bytes, check.header);
    expect(survey.isAscending).to.equal(false);
    expect(survey.losses).to.deep.equal([{ cpu: 0, reason: 1, seqFirst: 3n, seqLast: 5n, effects: 3, records: 10 }]);
  });
});

describe('frame reassembly', () => {
  const stream = Buffer.concat([SAMPLE, b.subbuf([]), b.subbuf([b.nop(9n)], { cpu: 1 })]);

  it('gives the same frames however the stream was cut', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: stream.length }), { maxLength: 12 }), (cuts) => {
        const sorted = [0, ...cuts.sort((x, y) => x - y), stream.length];
        const chunks = sorted.slice(1).map((end, i) => stream.subarray(sorted[i], end));
        const { events, frames } = push(chunks);
        expect(events.map((e) => e.type === 'subbuf' && e.position)).to.deep.equal([
          0,
          SAMPLE.length,
          SAMPLE.length + 96,
        ]);
        expect(
          Buffer.concat(events.map((e) => (e.type === 'subbuf' ? e.bytes : Buffer.alloc(0)))).equals(stream),
        ).to.equal(true);
        expect(frames.end()).to.deep.equal({ type: 'clean', position: stream.length });
      }),
    );
  });

  it('gives the same frames byte by byte', () => {
    expect(push([...stream].map((byte) => Buffer.from([byte]))).events).to.have.length(3);
  });

  it('reports a torn end and keeps what came before, at every cut', () => {
    const starts = [0, SAMPLE.length, SAMPLE.length + 96, stream.length];
    for (let cut = 0; cut <= stream.length; cut++) {
      const { events, frames } = push([stream.subarray(0, cut)]);
      const whole = starts.filter((s) => s > 0 && s <= cut).length;
      expect(events.filter((e) => e.type === 'subbuf')).to.have.length(whole);
      const position = starts[whole] ?? 0;
      const rest = cut - position;
      expect(frames.end()).to.deep.equal(
        rest === 0 ? { type: 'clean', position } : { type: 'torn', position, bytes: rest },
      );
    }
  });

  it('stops at the first damaged frame, at every flipped byte, and never believes what follows', () => {
    const starts = [0, SAMPLE.length, SAMPLE.length + 96, stream.length];
    for (let at = 0; at < stream.length; at++) {
      const copy = Buffer.from(stream);
      copy[at] = (copy[at] ?? 0) ^ 0x41;
      const { events, frames } = push([copy]);
      const hit = starts.filter((s) => s <= at).length - 1;
      expect(
        events.filter((e) => e.type === 'subbuf'),
        `flip at ${at}`,
      ).to.have.length(hit);
      // A length that grew makes the rest of the stream look torn; anything else is bad on the spot.
      expect(frames.end().type, `flip at ${at}`).to.be.oneOf(['bad', 'torn']);
      expect(frames.end().position).to.equal(starts[hit]);
    }
  });

  it('ignores bytes after a bad frame', () => {
    const { events, frames } = push([Buffer.from('this is no trace at all'), stream]);
    expect(events.map((e) => e.type)).to.deep.equal(['bad']);
    expect(frames.end()).to.include({ type: 'bad', position: 0 });
  });
});

describe('record decoder', () => {
  it('survives any bytes behind a good checksum, and accounts for every one of them', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.tuple(
            fc.integer({ min: 0, max: 63 }),
            fc.uint8Array({ maxLength: 600 }),
            fc.integer({ min: 0, max: 65535 }),
            fc.integer({ min: 0, max: 65535 }),
          ),
          { maxLength: 8 },
        ),
        (parts) => {
          const bytes = b.subbuf(
            parts.map(([kind, body, code, flags]) => b.record(kind, Buffer.from(body), { code, flags })),
          );
          const check = parseSubbuf(bytes);
          if (!check.ok) throw new Error(check.problem.detail);
          let total = 96;
          for (const record of decodeRecords(bytes, check.header)) total += record.size;
          const problem = surveySubbuf(bytes, check.header).problem;
          if (problem === undefined) expect(total).to.equal(bytes.length);
        },
      ),
      { numRuns: 500 },
    );
  });

  it('stops where a size does not fit', () => {
    for (const size of [0, 8, 17, 20, 2 ** 20]) {
      const bad = b.record(3, Buffer.alloc(8));
      bad.writeUInt32LE(size + 3 * 2 ** 26, 0);
      const bytes = b.subbuf([b.nop(1n), bad]);
      const check = parseSubbuf(bytes);
      if (!check.ok) throw new Error(check.problem.detail);
      expect([...decodeRecords(bytes, check.header)].map((r) => r.kind)).to.deep.equal(['effect']);
      expect(surveySubbuf(bytes, check.header).problem).to.match(/has size/);
    }
  });
});
