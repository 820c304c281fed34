// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { AT, FLAG } from '../../lab/abi/layout.js';
import { indexRun } from '../../lab/trace/run-index.js';
import { concerns, findRootDev, type PlanItem, planEffects } from '../../replay/plan.js';
import { collect, withRun } from '../support/run-builder.js';
import { dentry, loss, mark, mount, nop, start, subbuf, taint, write } from '../support/trace-builder.js';

const ROOT = 0xfe00;
const UUID = Buffer.alloc(16, 0xab);

function brief(item: PlanItem): string {
  return item.type === 'effect'
    ? String(item.seq)
    : `gap ${item.first}-${item.last}${item.isDeclared ? ' declared' : ''}`;
}

async function planOf(subbufs: readonly Buffer[], after: bigint, to: bigint): Promise<string[]> {
  return withRun(subbufs, async (runDir) =>
    (await collect(planEffects(runDir, await indexRun(runDir), { after, to, dev: ROOT }))).map(brief),
  );
}

describe('a plan', () => {
  it('merges the streams by number and keeps to the range', async () => {
    const subbufs = [
      subbuf([start(1n), write({ seq: 2n }, 0n, 'a'), write({ seq: 5n }, 0n, 'b')]),
      subbuf([write({ seq: 3n }, 0n, 'c'), dentry('CREATE', { seq: 4n, name: 'n' }), write({ seq: 6n }, 0n, 'd')], {
        cpu: 1,
      }),
    ];
    expect(await planOf(subbufs, 0n, 6n)).to.deep.equal(['2', '3', '4', '5', '6']);
    expect(await planOf(subbufs, 2n, 4n)).to.deep.equal(['3', '4']);
  });

  it('hands records out byte for byte', async () => {
    const wanted = write({ seq: 1n, ino: 77n, gen: 5 }, 4096n, Buffer.from([0, 255, 10]));
    await withRun([subbuf([wanted])], async (runDir) => {
      const [item] = await collect(planEffects(runDir, await indexRun(runDir), { after: 0n, to: 1n, dev: ROOT }));
      expect(item?.type === 'effect' && item.buf.equals(wanted)).to.equal(true);
    });
  });

  it('leaves out other file systems and disks and effects that change nothing, but keeps taints', async () => {
    const subbufs = [
      subbuf([
        start(1n),
        mount('MOUNT', { seq: 2n, ino: 2n, gen: 0 }, 'ext4', '/dev/vda'),
        write({ seq: 3n, dev: 5 }, 0n, 'tmpfs'),
        nop(4n),
        mark(5n, 'm'),
        taint({ seq: 6n, dev: 5 }, 1, 'raw write'),
        taint({ seq: 7n }, 1, 'raw write'),
        write({ seq: 8n }, 0n, 'root'),
      ]),
    ];
    expect(await planOf(subbufs, 0n, 8n)).to.deep.equal(['7', '8']);
  });

  it('has the marks of the run, but no mark of another file system', async () => {
    const subbufs = [
      subbuf([mark(1n, 'other'), write({ seq: 2n }, 0n, 'a'), mark(3n, 'm'), write({ seq: 4n }, 0n, 'b')]),
    ];
    await withRun(subbufs, async (runDir) => {
      const options = { after: 0n, to: 4n, dev: ROOT, marks: new Set([3n, 4n]) };
      expect((await collect(planEffects(runDir, await indexRun(runDir), options))).map(brief)).to.deep.equal([
        ...['2', '3', '4'],
      ]);
    });
  });

  it('tells declared gaps from those that nobody declared', async () => {
    const subbufs = [
      subbuf([
        write({ seq: 1n }, 0n, 'a'),
        loss(1, { seq_first: 2n, seq_last: 3n, effects: 2, records: 2 }),
        write({ seq: 6n }, 0n, 'b'),
      ]),
    ];
    expect(await planOf(subbufs, 0n, 6n)).to.deep.equal(['1', 'gap 2-3 declared', 'gap 4-5', '6']);
  });

  it('reports what is missing at the very end', async () => {
    expect(await planOf([subbuf([write({ seq: 1n }, 0n, 'a')])], 0n, 3n)).to.deep.equal(['1', 'gap 2-3']);
  });
});

describe('the root file system', () => {
  it('is the one whose MOUNT has the UUID of the image', async () => {
    const other = mount('MOUNT', { seq: 1n, dev: 9 }, 'ext4', '/dev/vdb');
    other.fill(1, AT.lemona_mount.uuid, AT.lemona_mount.uuid + 16);
    const subbufs = [subbuf([other, mount('MOUNT', { seq: 2n, dev: ROOT }, 'ext4', 'vda')])];
    await withRun(subbufs, async (runDir) => {
      expect(await findRootDev(runDir, await indexRun(runDir), UUID)).to.equal(ROOT);
    });
  });

  it('is not guessed', async () => {
    await withRun([subbuf([write({ seq: 1n }, 0n, 'a')])], async (runDir) => {
      let message = '';
      await findRootDev(runDir, await indexRun(runDir), UUID).catch((error: unknown) => {
        message = String(error);
      });
      expect(message).to.contain('no MOUNT effect');
    });
  });

  it('decides which effects concern the rebuild', () => {
    expect(concerns(write({ seq: 1n }, 0n, ''), ROOT)).to.equal(true);
    expect(concerns(write({ seq: 1n }, 0n, ''), ROOT + 1)).to.equal(false);
    const taintOf = (dev: number) => taint({ seq: 1n, dev }, FLAG.TAINT_MODULE, 'module x was loaded');
    expect([ROOT, 0, ROOT + 1].map((dev) => concerns(taintOf(dev), ROOT))).to.deep.equal([true, true, false]);
  });
});
