// SPDX-License-Identifier: MIT
/** Finds the workloads: every file of `workloads/`. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { LabError } from '../util/errors.js';
import type { Workload } from './workload.js';

const FOLDER = path.join(import.meta.dirname, 'workloads');

/** All of them. */
export async function loadWorkloads(): Promise<Workload[]> {
  const files = (await readdir(FOLDER)).filter((name) => name.endsWith('.ts')).sort();
  const workloads: Workload[] = [];
  for (const file of files) {
    const module: { workload?: Workload } = await import(pathToFileURL(path.join(FOLDER, file)).href);
    if (module.workload === undefined)
      throw new LabError('LAB_USAGE', `lab/bench/workloads/${file} exports no 'workload'`);
    workloads.push(module.workload);
  }
  return workloads;
}

/** Those that were named; all without names. */
export function chooseWorkloads(all: readonly Workload[], names: readonly string[]): Workload[] {
  const unknown = names.find((name) => !all.some((workload) => workload.name === name));
  if (unknown !== undefined) {
    throw new LabError('LAB_USAGE', `there is no workload '${unknown}'`, {
      next: `choose of: ${all.map(({ name }) => name).join(', ')}`,
    });
  }
  return names.length === 0 ? [...all] : all.filter(({ name }) => names.includes(name));
}
