// SPDX-License-Identifier: MIT
import { expect } from 'chai';
import { buildPrograms, runCell } from '../../lab/bench/cell.js';
import { LOAD_PROGRAM } from '../../lab/bench/load.js';
import type { Workload } from '../../lab/bench/workload.js';
import { usedByIntakes } from '../../lab/link/intake.js';
import { messageOf } from '../../lab/util/errors.js';
import { useBench } from '../harness/boot.js';

const ROUNDS = 100;

const WORKLOAD: Workload = {
  name: 'talks',
  about: 'says something else, without an end of line, before it says how long it took',
  image: 'tiny',
  memoryMiB: 256,
  script: () => `printf 'no end of line' >&2\nsleep 0.5\nmicro null ${ROUNDS}`,
};

describe('a cell of the bench', () => {
  const bench = useBench();

  it('has every span, whatever else the work says', async () => {
    const { folder, ctx, runDir } = bench();
    await buildPrograms(folder, ctx);
    const one = { config: 'vanilla', workload: WORKLOAD, lane: 'deterministic', repeat: 0, size: 'quick' } as const;
    const spec = { ...one, accelerator: 'tcg', verify: false, runDir: runDir('cell') } as const;
    const { spans, accelerator } = await runCell(spec, folder, ctx);
    expect(spans.map(({ label, units }) => [label, units])).to.deep.equal([['null', ROUNDS]]);
    expect(accelerator).to.equal('tcg,thread=single');
  });

  describe('whose load comes from the host', () => {
    const PAGES = 25;
    const served = (page: string): Workload => ({
      name: 'pages',
      about: 'serves pages to the host',
      image: 'tiny',
      memoryMiB: 256,
      loadedPort: 80,
      script: () => `${LOAD_PROGRAM}
mkdir pages && echo hello > pages/here && busybox httpd -p 80 -h $PWD/pages
span pages ${PAGES} load ${page} ${PAGES}`,
    });
    const cell = async (page: string) => {
      const { folder, ctx, runDir } = bench();
      await buildPrograms(folder, ctx);
      const one = {
        config: 'static-socket-plain',
        workload: served(page),
        lane: 'parallel',
        repeat: 0,
        size: 'quick',
        accelerator: 'tcg',
      } as const;
      return runCell({ ...one, verify: true, runDir: runDir('cell') }, folder, ctx);
    };

    it('takes how long all of it was, and its record is whole', async () => {
      const before = usedByIntakes();
      const { spans, trace, rebuild, lab } = await cell('here');
      const intakes = usedByIntakes();
      expect(intakes.cpuSeconds).to.be.greaterThan(before.cpuSeconds);
      expect(lab.cpuSeconds).to.be.greaterThan(intakes.cpuSeconds - before.cpuSeconds);
      expect(intakes.writtenBytes - before.writtenBytes).to.be.within(1, lab.writtenBytes);
      expect(spans.map(({ label, units }) => [label, units])).to.deep.equal([['pages', PAGES]]);
      expect([trace?.lost, trace?.missing, rebuild?.isEqual]).to.deep.equal([0, 0, true]);
    });

    it('fails, and says so, if the server does not serve what is asked for', async () => {
      const error = await cell('nowhere').catch((reason: unknown) => reason);
      expect(messageOf(error)).to.match(
        /ab did not get 25 times nowhere: Complete requests: 25, Failed requests: 0, Non-2xx responses: 25/,
      );
    });
  });
});
