// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { Duplex, PassThrough, Readable, Writable } from 'node:stream';
import { expect } from 'chai';
import { LabError } from '../../lab/util/errors.js';
import {
  CTL_FRAME_LIMIT,
  CtlClient,
  type CtlFrame,
  CtlFrameParser,
  encodeCtlFrame,
  parseHello,
} from '../../lab/vm/ctl.js';
import { failureOf } from '../support/failure.js';

/** The guest's end of the port, in this process. */
class FakeGuest extends Duplex {
  readonly frames: CtlFrame[] = [];
  readonly #parser = new CtlFrameParser();
  readonly #onFrame: (frame: CtlFrame, guest: FakeGuest) => void;

  constructor(onFrame: (frame: CtlFrame, guest: FakeGuest) => void) {
    super();
    this.#onFrame = onFrame;
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const frame of this.#parser.push(Buffer.from(chunk))) {
      this.frames.push(frame);
      this.#onFrame(frame, this);
    }
    done();
  }

  send(type: string, ...parts: Buffer[]): void {
    this.push(encodeCtlFrame(type, ...parts));
  }

  get socket(): Socket {
    return this as unknown as Socket;
  }
}

function words(...values: number[]): Buffer {
  const buffer = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) buffer.writeInt32LE(value, 4 * index);
  return buffer;
}

class Collect extends Writable {
  text = '';
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

describe('control frames', () => {
  it('come out whole wherever the stream is cut', () => {
    const stream = Buffer.concat([
      encodeCtlFrame('H', Buffer.from('a=b\n')),
      encodeCtlFrame('Z'),
      encodeCtlFrame('O', words(1), Buffer.from('text')),
    ]);
    for (let cut = 0; cut <= stream.length; cut++) {
      const parser = new CtlFrameParser();
      const frames = [...parser.push(stream.subarray(0, cut)), ...parser.push(stream.subarray(cut))];
      expect(frames.map((frame) => frame.type).join('')).to.equal('HZO');
      expect(frames[2]?.payload.subarray(4).toString()).to.equal('text');
    }
  });

  it('are refused when they announce more than anybody sends', () => {
    expect(() => new CtlFrameParser().push(Buffer.concat([words(CTL_FRAME_LIMIT + 1), Buffer.from('O')]))).to.throw(
      LabError,
    );
  });

  it('carry facts as lines', () => {
    expect([...parseHello('kernel=6.12\nnoise\nroot=a=b\n')]).to.deep.equal([
      ['kernel', '6.12'],
      ['root', 'a=b'],
    ]);
  });
});

describe('the control client', () => {
  it('passes stdin, output and the status of several commands at once', async () => {
    const guest = new FakeGuest((frame, self) => {
      const id = frame.payload.length >= 4 ? frame.payload.subarray(0, 4) : Buffer.alloc(4);
      if (frame.type === 'I' && frame.payload.length > 4) self.send('O', id, frame.payload.subarray(4));
      if (frame.type === 'I' && frame.payload.length === 4) self.send('X', id, words(7));
      if (frame.type === 'R' && frame.payload[4] === 0) {
        self.send('E', id, Buffer.from('oops'));
        self.send('X', id, words(-1));
      }
    });
    const ctl = new CtlClient(guest.socket);
    const out = new Collect();
    const err = new Collect();
    const fed = ctl.run(['cat'], { stdin: Readable.from([Buffer.from('ab'), Buffer.from('cd')]), stdout: out });
    const other = ctl.run(['false', 'two words'], { stderr: err });
    expect(await other.status).to.equal(-1);
    expect(await fed.status).to.equal(7);
    expect([out.text, err.text]).to.deep.equal(['abcd', 'oops']);
    const run = guest.frames.find((frame) => frame.type === 'R' && frame.payload.readUInt32LE(0) === other.id);
    expect(run?.payload.subarray(5).toString()).to.equal('false\0two words\0');
  });

  it('stops reading the guest while the taker of its output is full', async () => {
    const guest = new FakeGuest((frame, self) => {
      if (frame.type !== 'R') return;
      for (let index = 0; index < 20; index++) self.send('O', words(1), Buffer.alloc(1000));
      self.send('X', words(1, 0));
    });
    const slow = new PassThrough({ highWaterMark: 1500, readableHighWaterMark: 1500 });
    const ctl = new CtlClient(guest.socket);
    const command = ctl.run(['yes'], { stdout: slow });
    let over = false;
    void command.status.then(() => {
      over = true;
    });
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(over).to.equal(false);
    let bytes = 0;
    slow.on('data', (chunk: Buffer) => {
      bytes += chunk.length;
    });
    expect(await command.status).to.equal(0);
    expect(bytes).to.equal(20_000);
  });

  it('settles the hello, remembers problems, and the end', async () => {
    const guest = new FakeGuest((frame, self) => {
      if (frame.type === 'S') self.send('Z', Buffer.from([5, 0, 0, 0, 0, 0, 0, 1]));
    });
    const ctl = new CtlClient(guest.socket);
    guest.send('H', Buffer.from('kernel=6.12\n'));
    guest.send('P', Buffer.from('something is wrong\n'));
    expect((await ctl.hello).get('kernel')).to.equal('6.12');
    expect(await ctl.shutDown()).to.equal(2n ** 56n + 5n);
    ctl.powerOff();
    expect(guest.frames.map((frame) => frame.type).join('')).to.equal('SZ');
    expect(ctl.problems).to.deep.equal(['something is wrong']);
  });

  it('fails everything that waits when the port closes', async () => {
    const guest = new FakeGuest(() => {});
    const ctl = new CtlClient(guest.socket);
    const { status } = ctl.run(['sleep']);
    const failures = [failureOf(status), failureOf(ctl.hello)];
    guest.push(null);
    expect((await Promise.all(failures)).map((error) => error.code)).to.deep.equal(['LAB_VM_EXITED', 'LAB_VM_EXITED']);
    expect((await failureOf(ctl.run(['late']).status)).code).to.equal('LAB_VM_EXITED');
  });

  it('names a frame it does not know', async () => {
    const guest = new FakeGuest(() => {});
    const ctl = new CtlClient(guest.socket);
    const hello = failureOf(ctl.hello);
    guest.send('q');
    const error = await hello;
    expect(error.code).to.equal('LAB_CTL_PROTOCOL');
    expect(error.message).to.include('"q"');
  });
});
