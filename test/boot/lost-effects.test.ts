// SPDX-License-Identifier: MIT
/** A rebuild across lost effects names what it can't vouch for, and is right about all the rest. */
import { once } from 'node:events';
import { cp } from 'node:fs/promises';
import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { FLAG } from '../../lab/abi/layout.js';
import { describeUnvouched } from '../../replay/unvouched.js';
import { isNothingKnown, type VerifyRunResult } from '../../replay/verify.js';
import { describeVerdict, useBench } from '../harness/boot.js';
import { PROJECTS_AND_QUOTAS, withFeatures } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { loseEffects } from '../support/lose-effects.js';

/** What a guest said so far. */
class Text {
  #text = '';
  readonly #stream: PassThrough;

  constructor(stream: PassThrough) {
    this.#stream = stream;
    stream.on('data', (chunk: Buffer) => {
      this.#text += chunk.toString('utf8');
    });
  }

  has(word: string): boolean {
    return this.#text.includes(word);
  }

  async until(word: string): Promise<void> {
    while (!this.has(word)) await once(this.#stream, 'data');
  }
}

/** Everything is right that is not named. */
function expectRight(result: VerifyRunResult): void {
  expect(describeVerdict(result)).to.equal('');
  expect(result.replay.first.map((m) => `${m.op} ${m.seq}: ${m.what}`)).to.deep.equal([]);
  expect(result.isEqual).to.equal(true);
}

describe('a rebuild across lost effects', () => {
  const bench = useBench();

  it('goes by what the driver notes of its own losses, of more than a thousand inodes', async () => {
    // The host takes nothing while the files are made.
    const said = new PassThrough();
    const heard = new Text(said);
    const script = `cd /root; mkdir many; echo before > before; echo ready >&2
seq 1 12000 | sed s,^,many/, | xargs touch
echo after > after; echo made >&2`;
    const { manifest, output } = await bench().record('r', script, {
      smp: 2,
      kernelArgs: ['lemona.lossy=1', 'lemona.pool_mb=0', 'lemona.subbuf_kb=64'],
      stderr: said,
      tracePace: async () => {
        if (heard.has('ready')) await heard.until('made');
      },
    });
    expect(manifest.exitStatus, output).to.equal(0);
    const result = await bench().verify('r');
    const end = result.marks.at(-1);
    const { truth = 0, rebuilt = 0 } = end?.names ?? {};
    expect(truth - rebuilt, 'files whose births were lost').to.be.greaterThan(1000);
    expect(isNothingKnown(end?.unvouched ?? []), 'the notes speak of every lost effect').to.equal(false);
    expectRight(result);
  });

  it('knows what is inherited, and vouches for nothing where it is not known what was lost', async () => {
    const program = await guestProgram('inherit', bench().folder);
    const script = 'chmod +x /root/inherit; mkdir /root/p; cd /root/p && /root/inherit && rm none';
    const { manifest, output } = await bench().record('flags', script, {
      copyIn: [{ source: program, destination: '/root/inherit' }],
      tune: withFeatures(PROJECTS_AND_QUOTAS),
    });
    expect(manifest.exitStatus, output).to.equal(0);
    await cp(bench().runDir('flags'), bench().runDir('hidden'), { recursive: true });

    let isNow = false;
    const lost = await loseEffects(bench().runDir('flags'), (effect) => {
      isNow ||= effect.op === 'CREATE' && effect.name.toString() === 'now';
      return isNow && effect.op === 'SETATTR' && (effect.valid & FLAG.VALID_FSFLAGS) !== 0;
    });
    expect(lost.length).to.equal(2);
    const result = await bench().verify('flags');
    expectRight(result);
    expect(result.marks.at(-1)?.unvouched.map(describeUnvouched)).to.deep.equal([
      '/root/p/off: attributes; times; xattrs',
      '/root/p/on: attributes; times; xattrs',
    ]);

    await loseEffects(
      bench().runDir('hidden'),
      (effect) => effect.op === 'UNLINK',
      () => [],
    );
    const hidden = await bench().verify('hidden');
    expect(isNothingKnown(hidden.marks[0]?.unvouched ?? [])).to.equal(true);
    expect(hidden.isEqual).to.equal(false);
  });
});
