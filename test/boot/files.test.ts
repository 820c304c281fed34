// SPDX-License-Identifier: MIT
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect } from 'chai';
import { runDebugfs } from '../../images/ext4.js';
import { ROOT } from '../../lab/cli/invocation.js';
import type { Machine } from '../../lab/vm/machine.js';
import { describeMismatch } from '../../replay/control.js';
import type { VerifyRunResult } from '../../replay/verify.js';
import { breakDisk, inodeOn, sectorOf } from '../harness/bad-disk.js';
import { accountOf, type GuestOptions, useBench } from '../harness/boot.js';
import { laidOut, withFeatures } from '../harness/features.js';
import { guestProgram } from '../harness/program.js';
import { skip } from '../harness/skip.js';
import { taintsOf } from '../harness/taints.js';
import { FILES_GROUPS, type FilesGroup } from './files.js';

/** Of the bad file; its first block and its last one stay good. */
const BAD_BLOCK = 7;

/** Each case in a folder of its own, a mark after each; a case that fails says so and the next one goes on. */
function script(group: FilesGroup): string {
  const steps = group.cases.map(
    ({ name }) => `mkdir /root/${name}; cd /root/${name}; /root/files ${name} || { echo "${name} failed"; status=1; }
cd /root; lemona-mark ${name} >/dev/null || exit 99`,
  );
  return `chmod +x /root/files; status=0\n${steps.join('\n')}\nexit $status\n`;
}

/** What the options of a kernel configuration fragment say: those of `wanted` that are not on. */
async function missingOptions(wanted: readonly string[]): Promise<string[]> {
  const lines = (await readFile(path.join(ROOT, 'guest-kernel/config/base.config'), 'utf8')).split('\n');
  return wanted.filter((name) => !lines.includes(`${name}=y`));
}

/** The first sector of a file's bad block, and the file's inode. */
interface BadPlace {
  readonly sector: number;
  readonly ino: bigint;
}

/** Puts the file into the image. */
async function addBadFile(file: NonNullable<FilesGroup['badFile']>, raw: string, ctx: ToolContext): Promise<BadPlace> {
  const content = `${raw}.content`;
  await writeFile(content, Buffer.alloc(file.sizeBytes, 'o'));
  await runDebugfs(raw, [`write ${content} ${file.path}`], ctx).catch((error: unknown) => {
    // It tells the new inode's number, which runDebugfs takes for a complaint.
    if (!String(error).includes('Allocated inode')) throw error;
  });
  const inode = await inodeOn(raw, file.path);
  if (inode === undefined) throw new Error(`there is no ${file.path} in ${raw}`);
  return { sector: await sectorOf(raw, file.path, BAD_BLOCK), ino: inode.ino };
}

type ToolContext = Parameters<typeof runDebugfs>[2];

/** What each mark has for the first time, and taints that no case announced. */
function describeFindings(group: FilesGroup, result: VerifyRunResult): string {
  const lines: string[] = [];
  const seen = new Set<string>();
  let after = 0n;
  for (const mark of result.marks) {
    const row = group.cases.find(({ name }) => name === mark.mark);
    const taints = result.replay.taints.filter(({ seq }) => seq > after && seq <= mark.seq);
    if (row?.taint !== undefined && !taints.some(({ text }) => row.taint?.test(text)))
      lines.push(`${mark.mark}: no taint ${row.taint}; taints: ${taints.map(({ text }) => text).join(', ') || 'none'}`);
    for (const taint of taints)
      if (row?.taint?.test(taint.text) !== true) lines.push(`${mark.mark}: tainted at ${taint.seq}: ${taint.text}`);
    for (const { path: name, field, rebuilt, truth } of mark.first) {
      const text = `${name.slice(0, 120)}: ${field}: rebuilt ${rebuilt.slice(0, 100)}, truth ${truth.slice(0, 100)}`;
      if (!seen.has(text) && row?.inDoubt?.test(name) !== true) lines.push(`${mark.mark}: ${text}`);
      seen.add(text);
    }
    after = mark.seq;
  }
  for (const mismatch of result.replay.first.map(describeMismatch))
    if (group.refused?.test(mismatch) !== true) lines.push(`replay: ${mismatch}`);
  return lines.slice(0, 40).join('\n');
}

describe('files as they really are, rebuilt exactly', () => {
  const bench = useBench();

  for (const group of FILES_GROUPS) {
    it(`${group.title}: ${group.cases.map(({ what }) => what).join('; ')}`, async function () {
      const missing = await missingOptions(group.needs ?? []);
      if (missing.length > 0) skip(this, `the guest's kernel is built without ${missing.join(', ')}`);
      const { folder, ctx } = bench();
      const program = await guestProgram('files', folder);
      let bad: BadPlace | undefined;
      const options: GuestOptions = {
        smp: 2,
        copyIn: [{ source: program, destination: '/root/files' }],
        ...(group.features === undefined ? {} : { tune: withFeatures(group.features) }),
        ...(group.layout === undefined ? {} : { tune: laidOut(group.layout) }),
        ...(group.mountOptions === undefined ? {} : { mountOptions: group.mountOptions }),
        ...(group.badFile === undefined
          ? {}
          : {
              tune: async (raw: string) => {
                if (group.badFile !== undefined) bad = await addBadFile(group.badFile, raw, ctx);
              },
              onMachine: (machine: Machine) => {
                if (bad !== undefined) breakDisk(machine, bad.sector);
              },
            }),
      };
      const { manifest, output } = await bench().record('r', script(group), options);
      expect(output, 'what the guest said').to.equal('');
      expect(manifest.exitStatus).to.equal(0);
      expect((await accountOf(bench().runDir('r'))).isComplete).to.equal(true);
      const result = await bench().verify('r');
      expect(describeFindings(group, result)).to.equal('');
      expect(result.marks.map(({ mark }) => mark)).to.include.members(group.cases.map(({ name }) => name));
      if (bad === undefined) return;
      const tainted = new Set((await taintsOf(bench().runDir('r'))).map(({ ino }) => ino));
      expect([...tainted], 'inodes that are not vouched for').to.deep.equal([bad.ino]);
    });
  }
});
