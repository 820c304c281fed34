// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { acceleratorOf, cellArgs } from '../../lab/bench/lanes.js';
import { LANES } from '../../lab/bench/report-data.js';
import type { Workload } from '../../lab/bench/workload.js';
import { CONFIG_NAMES } from '../../lab/run/configs.js';

const WORKLOAD: Workload = { name: 'w', about: '', image: 'tiny', memoryMiB: 128, script: () => 'micro null 1' };

describe('the lanes of a bench', () => {
  it('emulate the guests of all configurations in the same way, and say which', () => {
    for (const lane of LANES) {
      for (const accelerator of ['tcg', 'kvm'] as const) {
        const said = CONFIG_NAMES.map((config) => {
          const args = cellArgs({ config, workload: WORKLOAD, lane, repeat: 0 }, accelerator);
          return args[args.indexOf('-accel') + 1];
        });
        expect([...new Set(said)], `${lane} ${accelerator}`).to.deep.equal([acceleratorOf(lane, accelerator)]);
      }
    }
    expect(acceleratorOf('parallel', 'tcg')).to.equal('tcg,thread=single');
    expect(acceleratorOf('parallel', 'kvm')).to.equal('kvm');
  });

  it('draw the random numbers of counted guests from a seed', () => {
    const args = cellArgs({ config: 'vanilla', workload: WORKLOAD, lane: 'deterministic', repeat: 0 }, 'tcg');
    expect(args.slice(args.indexOf('-seed')).slice(0, 2)).to.deep.equal(['-seed', '1']);
  });
});
