// SPDX-License-Identifier: MIT
/** The bar: 10,000 random alterations of sealed runs are all found, and untouched runs raise no alarm. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { expect } from 'chai';
import { auditRun } from '../../lab/audit/audit.js';
import { Random } from '../fuzz/random.js';
import { randomShape, tamper } from '../fuzz/tampering.js';
import { blameSeed, testSeed } from '../harness/boot.js';
import { makeSealedRun } from '../support/sealed-run.js';

const TRIALS = 10_000;
const TRIALS_OF_A_RUN = 50;
const UNTOUCHED = 500;

describe('tampering', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'lemona-test-'));
  });

  afterEach(() => rm(folder, { recursive: true }));

  it(`finds all of ${TRIALS} random alterations with a witness, and counts those it finds without`, async () => {
    const seed = testSeed();
    blameSeed(seed);
    const random = new Random(seed);
    const sum = new Map<string, { tried: number; foundAlone: number }>();
    const missed: string[] = [];
    for (let run = 0; run < TRIALS / TRIALS_OF_A_RUN; run++) {
      const result = await tamper(path.join(folder, `${run}`), TRIALS_OF_A_RUN, random, { isAuditedAlone: true });
      missed.push(...result.missed);
      for (const [name, { tried, foundAlone }] of result.kinds) {
        const before = sum.get(name) ?? { tried: 0, foundAlone: 0 };
        sum.set(name, { tried: before.tried + tried, foundAlone: before.foundAlone + foundAlone });
      }
    }
    process.stdout.write(`      seed ${seed}; found without a witness:\n`);
    for (const [name, { tried, foundAlone }] of sum) process.stdout.write(`      ${foundAlone}/${tried} ${name}\n`);
    expect(missed).to.deep.equal([]);
  });

  it(`raises no alarm over ${UNTOUCHED} untouched runs of random shapes`, async () => {
    const seed = testSeed();
    blameSeed(seed);
    const random = new Random(seed);
    for (let run = 0; run < UNTOUCHED; run++) {
      const dir = path.join(folder, `${run}`);
      const dataDir = path.join(folder, 'data');
      await makeSealedRun(dir, dataDir, randomShape(random));
      const report = await auditRun(dir, { heads: [path.join(dataDir, 'heads.jsonl')] });
      expect([report.findings, report.isClosed], `seed ${seed}, run ${run}`).to.deep.equal([[], true]);
      await rm(dir, { recursive: true });
    }
  });
});
