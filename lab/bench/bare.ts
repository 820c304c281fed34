// SPDX-License-Identifier: MIT
/** QEMU's command line for a guest with a disk and a console only: what QEMU itself can record and replay. Pure. */
import { kernelCommandLine, QEMU_PROGRAM, TCG_CPU, TCG_KERNEL_ARGS } from '../vm/qemu-args.js';

export type BareMode = 'plain' | 'record' | 'replay';

export interface BareSpec {
  readonly mode: BareMode;
  readonly kernel: string;
  readonly initrd: string;
  /** A qcow2 overlay that is fresh for each run. */
  readonly disk: string;
  /** QEMU's recording, written or read. */
  readonly rrFile: string;
  readonly memoryMiB: number;
}

function value(text: string): string {
  return text.replaceAll(',', ',,');
}

export function bareArgs(spec: BareSpec): [string, ...string[]] {
  const isPlain = spec.mode === 'plain';
  return [
    QEMU_PROGRAM,
    ...['-name', 'lemona-bench'],
    '-nodefaults',
    '-no-user-config',
    ...['-display', 'none'],
    ...['-machine', 'pc,hpet=off,vmport=off,usb=off'],
    ...['-accel', 'tcg,thread=single'],
    ...['-cpu', TCG_CPU],
    ...['-smp', '1'],
    ...['-m', `${spec.memoryMiB}M`],
    ...['-kernel', spec.kernel],
    ...['-initrd', spec.initrd],
    ...['-append', kernelCommandLine(TCG_KERNEL_ARGS)],
    '-no-reboot',
    // The guest's clock counts instructions, so that each input can be replayed at the same one.
    ...(isPlain ? [] : ['-icount', `shift=auto,rr=${spec.mode},rrfile=${value(spec.rrFile)}`]),
    ...['-net', 'none'],
    ...['-serial', 'stdio'],
    ...['-blockdev', `driver=file,node-name=file0,filename=${value(spec.disk)},cache.no-flush=on`],
    ...['-blockdev', 'driver=qcow2,node-name=disk0,file=file0,cache.no-flush=on'],
    // Completions of the disk are inputs too: this driver puts them into the recording.
    ...(isPlain ? [] : ['-blockdev', 'driver=blkreplay,node-name=replay0,image=disk0']),
    ...['-device', `virtio-blk-pci,drive=${isPlain ? 'disk0' : 'replay0'}`],
  ];
}
