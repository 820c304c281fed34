// SPDX-License-Identifier: MIT
/**
 * What a workload is. Each file of `workloads/` exports one as `workload`; a file more is a workload more.
 */
import type { ImageKind } from '../../images/build.js';

export type Size = 'full' | 'quick';

/** A workload that has not ended by then never will; where one says nothing of its own. */
const TIMEOUT_MINUTES = 30;

export interface Workload {
  /** As `--workloads` takes it. */
  readonly name: string;
  readonly about: string;
  /** One of the paper's two: what `--quick` runs unless told otherwise. */
  readonly isOfPaper?: true;
  readonly image: ImageKind;
  readonly memoryMiB: number;
  /**
   * The load comes from the host: the script asks for it by the command `load PATH COUNT` (load.ts), of a web server on
   * this port of the guest. On the parallel lane only: the host's time is not counted in the guest's instructions.
   */
  readonly loadedPort?: number;
  /** How long it may take, with the costliest recorder and on a slow host. */
  readonly timeoutMinutes?: Partial<Readonly<Record<Size, number>>>;
  /**
   * Run by sh in an empty folder of the traced disk. Each thing that is measured is one command
   * `span LABEL UNITS COMMAND…` (units: what a cost is divided by) or `micro NAME ROUNDS`; both are on the PATH.
   */
  script(size: Size): string;
}

/** How long its command may take. */
export function timeoutMs({ timeoutMinutes }: Workload, size: Size): number {
  return (timeoutMinutes?.[size] ?? TIMEOUT_MINUTES) * 60_000;
}
