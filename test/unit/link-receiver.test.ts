// SPDX-License-Identifier: MIT
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { expect } from 'chai';
import { TORN_TAIL_FILE, TraceReceiver } from '../../lab/link/receiver.js';
import { SegmentWriter } from '../../lab/trace/segment-writer.js';
import { LabError } from '../../lab/util/errors.js';
import { nop, start, subbuf } from '../support/trace-builder.js';

const HEADER_BYTES = 64;

describe('the trace receiver', () => {
  let folder: string;
  const first = subbuf([start(1n), nop(2n)], { number: 0n });
  const second = subbuf([nop(3n)], { number: 1n });
  const stream = Buffer.concat([first, second]);

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  async function receive(chunks: Iterable<Buffer>, failure?: Error): Promise<TraceReceiver> {
    const writer = await SegmentWriter.create({ folder, now: () => 1n });
    const source = Readable.from(
      (function* () {
        yield* chunks;
        if (failure !== undefined) throw failure;
      })(),
      { objectMode: false },
    );
    return new TraceReceiver(source as unknown as Socket, writer, folder);
  }

  async function storedBody(length: number): Promise<Buffer> {
    const segment = await readFile(path.join(folder, '000000.seg'));
    return segment.subarray(HEADER_BYTES, HEADER_BYTES + length);
  }

  it('stores the same bytes wherever the stream is cut', async () => {
    for (let cut = 1; cut < stream.length; cut += 7) {
      await rm(path.join(folder, '000000.seg'), { force: true });
      const receiver = await receive([stream.subarray(0, cut), stream.subarray(cut)]);
      expect(await receiver.done).to.deep.equal({
        segments: 1,
        bytes: stream.length,
        subbufs: 2,
        tornBytes: 0,
        lastSeq: 3n,
      });
      expect((await storedBody(stream.length)).equals(stream)).to.equal(true);
    }
    expect(await readdir(folder)).to.deep.equal(['000000.seg']);
  });

  it('keeps what came whole when the stream is torn, and the tail beside it', async () => {
    for (const cut of [1, 40, second.length - 1]) {
      await rm(path.join(folder, '000000.seg'), { force: true });
      const bytes = stream.subarray(0, first.length + cut);
      const receiver = await receive([...bytes].map((byte) => Buffer.from([byte])));
      expect(await receiver.done).to.include({ subbufs: 1, bytes: first.length, tornBytes: cut, lastSeq: 2n });
      expect((await storedBody(first.length)).equals(first)).to.equal(true);
      expect((await readFile(path.join(folder, TORN_TAIL_FILE))).equals(bytes.subarray(first.length))).to.equal(true);
    }
  });

  it('takes a reset connection for an end', async () => {
    const receiver = await receive([first], Object.assign(new Error('reset'), { code: 'ECONNRESET' }));
    expect(await receiver.done).to.include({ subbufs: 1 });
  });

  it('believes nothing after a bad frame, and seals what came before', async () => {
    const damaged = Buffer.from(second);
    damaged.writeUInt8(damaged.readUInt8(damaged.length - 1) ^ 1, damaged.length - 1);
    const receiver = await receive([Buffer.concat([first, damaged, first])]);
    const error: unknown = await receiver.done.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(LabError);
    expect((error as LabError).code).to.equal('LAB_SEGMENT_CORRUPT');
    expect(receiver.totals).to.include({ subbufs: 1, bytes: first.length });
    const segment = await readFile(path.join(folder, '000000.seg'));
    expect(segment.subarray(HEADER_BYTES + first.length).toString('latin1')).to.match(/^LMNASEAL/);
  });

  it('reads no further while a segment is being written', async () => {
    let read = 0;
    const writer = await SegmentWriter.create({ folder, now: () => 1n });
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    const append = writer.append.bind(writer);
    writer.append = async (bytes: Buffer) => {
      await held;
      await append(bytes);
    };
    const source = new Readable({
      highWaterMark: 1,
      read() {
        this.push(read++ < 50 ? first : null);
      },
    });
    const receiver = new TraceReceiver(source as unknown as Socket, writer, folder);
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(read).to.be.at.most(3);
    release();
    expect(await receiver.done).to.include({ subbufs: 50 });
  });
});
