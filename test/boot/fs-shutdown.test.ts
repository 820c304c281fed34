// SPDX-License-Identifier: MIT
/** A file system that is told to stop takes nothing more in: what the record has beyond that is no longer on the disk. */
import { expect } from 'chai';
import { accountOf, useBench } from '../harness/boot.js';
import { guestProgram } from '../harness/program.js';
import { taintsOf } from '../harness/taints.js';

const SHUT = 'the filesystem was shut down';
const ABORTED = 'the file system found an error in jbd2_journal_abort()';

/** How the guest's way of that name is started. Only a journal that is not aborted lets the end be marked. */
const STOPS = [
  { way: 'shut-down', how: 0, what: 'after all is written', marks: ['before', 'end'], taints: [SHUT] },
  { way: 'shut-down', how: 2, what: 'at once', marks: ['before'], taints: [ABORTED, SHUT] },
  {
    way: 'shut-down-32',
    how: 1,
    what: 'after the journal is, by the 32-bit entry',
    marks: ['before'],
    taints: [ABORTED, SHUT],
  },
] as const;

describe('a file system that is shut down while it is mounted', () => {
  const bench = useBench();

  for (const { way, how, what, marks, taints } of STOPS) {
    it(`is exact until then, and tainted from then on: ${what}`, async () => {
      const program = await guestProgram('ways', bench().folder);
      const script = `chmod +x /root/ways; mkdir /root/d; cd /root/d; ln -s ../ways ${way}
echo one > one; lemona-mark before; echo two > two
./${way} 1 0 ${how} || exit 1
echo three > three && exit 2
exit 0`;
      const { manifest, output } = await bench().record('r', script, {
        copyIn: [{ source: program, destination: '/root/ways' }],
      });
      expect(manifest.exitStatus, output).to.equal(0);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(result.marks.map(({ mark }) => mark)).to.deep.equal(marks);
      expect(result.marks[0]?.first).to.deep.equal([]);
      expect((await taintsOf(bench().runDir('r'))).map(({ text }) => text)).to.deep.equal(taints);
    });
  }
});
