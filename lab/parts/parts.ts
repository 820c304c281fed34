// SPDX-License-Identifier: MIT
/** Brings the built parts together: which kernel, image and initramfs a run or a rebuild boots. */
import { buildKernel } from '../../guest-kernel/build.js';
import { buildImage, type ImageKind } from '../../images/build.js';
import { buildInitramfs } from '../../images/initramfs.js';
import type { ReplayVm } from '../../replay/agent-link.js';
import type { RunConfig } from '../run/configs.js';
import { imageOf, openRun } from '../run/folder.js';
import type { KernelArtifact, RecordOptions } from '../run/record-options.js';
import type { LabContext } from '../util/context.js';
import { chooseAccelerator } from '../vm/accel.js';
import type { Accelerator } from '../vm/qemu-args.js';
import { buildIntake } from './intake.js';

/** What a recorded guest boots. */
export async function recordParts(
  config: Pick<RunConfig, 'socket'> & Pick<KernelArtifact, 'flavour'>,
  imageKind: ImageKind,
  debug: boolean,
  ctx: LabContext,
): Promise<Pick<RecordOptions, 'kernel' | 'image' | 'initramfs' | 'intake'>> {
  const debugFlavour = config.flavour === 'm' ? 'debug-m' : 'debug';
  const kernel = await buildKernel(debug ? debugFlavour : config.flavour, ctx);
  const image = await buildImage(imageKind, ctx);
  const initramfs = await buildInitramfs({ role: 'record', module: kernel.module, hasKey: config.socket }, ctx);
  return { kernel, image, initramfs, ...(config.socket ? { intake: await buildIntake(ctx) } : {}) };
}

/** What a rebuild boots: our own kernel, because no other can set all four times, and one that does little else. */
export async function replayParts(ctx: LabContext) {
  const kernel = await buildKernel('replay', ctx);
  return { kernel, initramfs: await buildInitramfs({ role: 'replay', module: null }, ctx) };
}

/** The accelerator of guests that boot that kernel, on such an image, as found out on this host. */
export async function acceleratorFor(
  kernel: Pick<KernelArtifact, 'digest' | 'bzImage'>,
  rootRaw: string,
  ctx: LabContext,
): Promise<Accelerator> {
  const initrd = await buildInitramfs({ role: 'record', module: null }, ctx);
  const guest = { digest: kernel.digest, kernel: kernel.bzImage, initrd, rootRaw };
  const { log, cacheDir, signal } = ctx;
  return (await chooseAccelerator(guest, { log, cacheDir, signal })).accelerator;
}

/** The accelerator is the one found good for recording; on a host that changed since, it is found out again. */
export async function replayVm(runDir: string, ctx: LabContext): Promise<ReplayVm> {
  const { kernel, initramfs } = await replayParts(ctx);
  const run = await openRun(runDir);
  const accelerator = await acceleratorFor(kernel, imageOf(run).raw, ctx);
  return { bzImage: kernel.bzImage, initramfs, accelerator };
}
