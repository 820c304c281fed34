// SPDX-License-Identifier: MIT
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { expect } from 'chai';
import { type MarkRequest, parseMarkRequest, serveMarks } from '../../lab/link/mark.js';

class FakePort extends Duplex {
  answers = '';
  override _read(): void {}
  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.answers += chunk.toString();
    done();
  }
}

async function ask(text: readonly string[], onMark: (request: MarkRequest) => Promise<void>): Promise<string> {
  const port = new FakePort();
  const served = serveMarks(port as unknown as Socket, onMark);
  for (const part of text) {
    port.push(part);
    await new Promise((resolve) => setImmediate(resolve));
  }
  port.push(null);
  await served;
  return port.answers;
}

describe('a mark request', () => {
  it('keeps numbers above 2^53 exact', () => {
    expect(parseMarkRequest('MARK 9007199254740993 18446744073709551615 a.b-c')).to.deep.equal({
      seq: 9007199254740993n,
      realNs: 18446744073709551615n,
      label: 'a.b-c',
    });
  });

  it('is refused with words when it is malformed or its label could not name a snapshot', () => {
    for (const line of [
      '',
      'MARK',
      'MARK x 1 a',
      'MARK 1 1 ',
      'MARK 1 1 a b',
      'MARK 1 1 a,b',
      'MARK 1 1 ../x',
      `MARK 1 1 ${'a'.repeat(121)}`,
    ]) {
      expect(parseMarkRequest(line), line).to.be.a('string');
    }
  });
});

describe('the mark port', () => {
  it('answers one line a request, in order, however the bytes are cut', async () => {
    const seen: string[] = [];
    const answers = await ask(['MARK 1 2 o', 'ne\nMARK 3 4 two\nMARK 5 6 thr', 'ee\n'], async ({ label }) => {
      seen.push(label);
      if (label === 'two') throw new Error('no space\nleft');
    });
    expect(seen).to.deep.equal(['one', 'two', 'three']);
    expect(answers).to.equal('OK\nERR no space left\nOK\n');
  });

  it('holds little of a request that never ends', async () => {
    const answers = await ask(['x'.repeat(5000), '\n'], async () => {});
    expect(answers).to.match(/^ERR a request of more than 4096 bytes\nERR malformed/);
  });
});
