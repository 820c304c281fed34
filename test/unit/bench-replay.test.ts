// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { bareArgs } from '../../lab/bench/bare.js';
import { describeTiming } from '../../lab/cli/verbs/bench-replay.js';

const spec = { kernel: 'bz', initrd: 'rd', disk: '/d/a,b.qcow2', rrFile: '/d/rr,1', memoryMiB: 512 };

describe("the guests of QEMU's own record and replay", () => {
  it('have no network, one CPU, a disk whose completions are recorded, and a clock that counts instructions', () => {
    for (const mode of ['record', 'replay'] as const) {
      const args = bareArgs({ ...spec, mode }).join(' ');
      expect(args).to.include(`-icount shift=auto,rr=${mode},rrfile=/d/rr,,1`);
      expect(args).to.include('driver=blkreplay,node-name=replay0,image=disk0');
      expect(args).to.include('virtio-blk-pci,drive=replay0');
      expect(args).to.include('-net none');
      expect(args).to.include('-smp 1');
      expect(args).to.include('filename=/d/a,,b.qcow2');
    }
  });

  it('are like the plain one in all else', () => {
    const plain = bareArgs({ ...spec, mode: 'plain' });
    expect(plain.join(' ')).to.not.match(/icount|blkreplay/);
    const extra = bareArgs({ ...spec, mode: 'record' }).filter((word) => !plain.includes(word));
    expect(extra).to.deep.equal([
      '-icount',
      'shift=auto,rr=record,rrfile=/d/rr,,1',
      'driver=blkreplay,node-name=replay0,image=disk0',
      'virtio-blk-pci,drive=replay0',
    ]);
  });
});

describe('a line of bench replay', () => {
  it('has the time, the ratio and the size, or why it broke', () => {
    const timing = {
      name: 'our recording',
      seconds: 3.4,
      ratio: 1.234,
      wholeSeconds: 7.9,
      bytes: 12_340_000,
      broke: null,
    } as const;
    expect(describeTiming(timing)).to.match(
      /^our recording +3\.40 s +1\.23 × the original +7\.90 s whole +12\.3 MB of record$/,
    );
    expect(
      describeTiming({
        ...timing,
        seconds: null,
        ratio: null,
        wholeSeconds: null,
        bytes: null,
        broke: 'killed by SIGABRT',
      }),
    ).to.match(/^our recording +- +BROKE: killed by SIGABRT$/);
  });
});
