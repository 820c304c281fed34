// SPDX-License-Identifier: MIT
import path from 'node:path';
import { benchConfig } from '../../bench/configs.js';
import { runMatrix } from '../../bench/matrix.js';
import { planCells } from '../../bench/measure.js';
import { type Repeated, repeatFolder } from '../../bench/output.js';
import { readReport, writeReport } from '../../bench/report.js';
import { type BenchOptions, LANES } from '../../bench/report-data.js';
import { faultsOf, unique } from '../../bench/summary.js';
import { chooseWorkloads, loadWorkloads } from '../../bench/workloads.js';
import { CONFIG_NAMES } from '../../run/configs.js';
import { LabError } from '../../util/errors.js';
import type { Invocation } from '../invocation.js';

/** Fewer than 6 samples of time give no interval, and can't be compared; instructions hardly differ. */
const REPEATS = { full: { deterministic: 3, parallel: 10 }, quick: { deterministic: 1, parallel: 6 } } as const;

/** `A,B`, once or more often; one that is named twice is measured once. */
function names(values: readonly string[]): string[] {
  return unique(values.flatMap((value) => value.split(',')).filter((name) => name !== ''));
}

async function repeatedOf(invocation: Invocation): Promise<Repeated | undefined> {
  const file = invocation.string('repeat');
  if (file === undefined) return undefined;
  const other = ['lane', 'configs', 'workloads'].find((flag) => invocation.list(flag).length > 0);
  if (other !== undefined || invocation.bool('quick'))
    throw new LabError('LAB_USAGE', `--repeat takes all options from the report: leave out --${other ?? 'quick'}`);
  return { file, report: await readReport(file) };
}

/** What is asked for. */
export async function optionsOf(invocation: Invocation): Promise<BenchOptions> {
  const size = invocation.bool('quick') ? 'quick' : 'full';
  const lanes = names(invocation.list('lane')).map((name) => {
    const lane = LANES.find((one) => one === name);
    if (lane === undefined) throw new LabError('LAB_USAGE', `there is no lane '${name}': ${LANES.join(' or ')}`);
    return lane;
  });
  const configs = names(invocation.list('configs')).map((name) => benchConfig(name).name);
  const all = await loadWorkloads();
  const wanted = names(invocation.list('workloads'));
  const ofPaper = all.filter(({ isOfPaper }) => isOfPaper === true);
  const workloads = size === 'quick' && wanted.length === 0 ? ofPaper : chooseWorkloads(all, wanted);
  return {
    lanes: lanes.length > 0 ? lanes : size === 'quick' ? ['deterministic'] : [...LANES],
    configs: configs.length > 0 ? configs : [...CONFIG_NAMES],
    workloads: workloads.map(({ name }) => name),
    size,
    repeats: REPEATS[size],
  };
}

/** `bench`: 1 if a cell failed, lost records or was not rebuilt exactly. */
export async function run(invocation: Invocation): Promise<number> {
  const ctx = invocation.context();
  const repeated = await repeatedOf(invocation);
  const options = repeated?.report.options ?? (await optionsOf(invocation));
  const ownFolder = async () => (repeated === undefined ? path.join(ctx.runsDir, 'bench') : repeatFolder(ctx.runsDir));
  const output = path.resolve(invocation.string('output') ?? (await ownFolder()));
  const command = [
    './lemona bench',
    ...(options.size === 'quick' ? ['--quick'] : []),
    `--lane ${options.lanes.join(',')}`,
    `--configs ${options.configs.join(',')}`,
    `--workloads ${options.workloads.join(',')}`,
  ].join(' ');
  const workloads = chooseWorkloads(await loadWorkloads(), options.workloads);
  if (planCells(options, workloads).length === 0)
    throw new LabError('LAB_USAGE', `${options.workloads.join(', ')}: measured on the parallel lane only`, {
      next: 'add --lane parallel',
    });
  const again = repeated === undefined ? {} : { repeated };
  const report = await runMatrix({ options, workloads, output, command, ...again }, ctx);
  const written = await writeReport(report, output);
  if (invocation.json) await invocation.out.json(report);
  else for (const file of written) await invocation.out.line(file);
  return faultsOf(report).length === 0 ? 0 : 1;
}
