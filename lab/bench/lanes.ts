// SPDX-License-Identifier: MIT
/** The guests of the two lanes: how many CPUs, and who executes them. */

import { driverArgs, threadsOf } from '../run/guest.js';
import type { RecordOptions } from '../run/record-options.js';
import { type Accelerator, acceleratorArg, qemuArgs } from '../vm/qemu-args.js';
import { benchConfig } from './configs.js';
import { ICOUNT_KERNEL_ARGS, ICOUNT_QEMU_ARGS } from './icount.js';
import type { CellPlan } from './measure.js';
import type { Lane } from './report-data.js';

type LaneGuest = Required<Pick<RecordOptions, 'smp' | 'hasOneThread' | 'qemuArgs' | 'kernelArgs'>>;

/**
 * The parallel lane has as many vCPUs as the smallest machine has cores. Where they are emulated, they take turns in one
 * thread: a guest that loads the driver has to (`acceleratorArg`), and the others are compared with it.
 */
export const LANE_GUESTS: Readonly<Record<Lane, LaneGuest>> = {
  deterministic: { smp: 1, hasOneThread: true, qemuArgs: ICOUNT_QEMU_ARGS, kernelArgs: ICOUNT_KERNEL_ARGS },
  parallel: { smp: 2, hasOneThread: true, qemuArgs: [], kernelArgs: [] },
};

/** Who executes the guests of a lane, as QEMU is told: `kvm`, `tcg,thread=single`. */
export function acceleratorOf(lane: Lane, accelerator: Accelerator): string {
  return acceleratorArg({ ...LANE_GUESTS[lane], accelerator });
}

/** QEMU's command line of a cell, with names in place of its files. Pure. */
export function cellArgs({ config, workload, lane }: CellPlan, accelerator: Accelerator): readonly string[] {
  const { run } = benchConfig(config);
  const guest = LANE_GUESTS[lane];
  return qemuArgs({
    name: 'cell',
    accelerator,
    smp: guest.smp,
    ...threadsOf(run, guest),
    memoryMiB: workload.memoryMiB,
    ...{ kernel: 'kernel', initrd: 'initramfs' },
    append: [...driverArgs(run, []), ...guest.kernelArgs],
    disks: [{ nodeName: 'disk0', path: 'disk', format: 'qcow2' }],
    endpoints: {
      kind: 'sockets',
      ports: [],
      qmpSocketPath: 'qmp',
      consoleSocketPath: 'console',
      consoleLogPath: 'log',
    },
    extraArgs: guest.qemuArgs,
  });
}
