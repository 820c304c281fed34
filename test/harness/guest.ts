// SPDX-License-Identifier: MIT
/** A guest without a recording around it: for tests of what happens inside it, or between it and a host that misbehaves. */

import { mkdir } from 'node:fs/promises';
import path from 'node:path';
import { PassThrough } from 'node:stream';
import { recordParts } from '../../lab/parts/parts.js';
import { type ConfigName, findConfig } from '../../lab/run/configs.js';
import { copyIn } from '../../lab/run/copy-in.js';
import type { LabContext } from '../../lab/util/context.js';
import { chooseAccelerator } from '../../lab/vm/accel.js';
import { CtlClient } from '../../lab/vm/ctl.js';
import { Machine } from '../../lab/vm/machine.js';

export interface BareGuestOptions {
  readonly config: ConfigName;
  readonly smp?: number;
  readonly kernelArgs?: readonly string[];
  /** The guest loads the driver itself. */
  readonly patchesRunningCode?: boolean;
  readonly isDebug?: boolean;
  readonly memoryMiB?: number;
}

export interface BareGuest {
  readonly machine: Machine;
  readonly ctl: CtlClient;
  /** Watches the guest while something is waited for. */
  guard<T>(work: Promise<T>, label: string, timeoutMs?: number): Promise<T>;
  copyIn(source: string, destination: string): Promise<void>;
  run(script: string, timeoutMs?: number): Promise<{ readonly status: number; readonly output: string }>;
}

const WAIT_MS = 1_200_000;

/** Boots the tiny image, whose disk stays as it is, to its hello. End it with `machine.quit()`. */
export async function bootBareGuest(folder: string, options: BareGuestOptions, ctx: LabContext): Promise<BareGuest> {
  const config = findConfig(options.config);
  const { kernel, image, initramfs } = await recordParts(config, 'tiny', options.isDebug ?? false, ctx);
  const probe = { digest: kernel.digest, kernel: kernel.bzImage, initrd: initramfs, rootRaw: image.raw };
  const { accelerator } = await chooseAccelerator(probe, ctx);
  const logFolder = path.join(folder, 'guest');
  await mkdir(logFolder, { recursive: true });
  const machine = await Machine.launch(
    {
      name: 'lemona-bare',
      accelerator,
      smp: options.smp ?? 1,
      patchesRunningCode: options.patchesRunningCode ?? false,
      memoryMiB: options.memoryMiB ?? 512,
      kernel: kernel.bzImage,
      initrd: initramfs,
      append: [...(config.flavour === 'y' ? ['lemona.start=1'] : []), ...(options.kernelArgs ?? [])],
      disks: [{ nodeName: 'disk0', path: image.raw, format: 'raw', isThrowaway: true }],
      ports: ['lemona.ctl', 'lemona.trace', 'lemona.mark'],
      logFolder,
      extraArgs: [],
    },
    ctx,
  );
  const guard: BareGuest['guard'] = (work, label, timeoutMs = WAIT_MS) =>
    machine.guard(work, { label, timeoutMs, signal: ctx.signal });
  try {
    machine.port('lemona.trace').resume();
    // Whoever asks for a mark gets it, and no snapshot.
    const marks = machine.port('lemona.mark');
    marks.on('data', () => marks.write('OK\n'));
    marks.resume();
    const ctl = new CtlClient(machine.port('lemona.ctl'));
    await machine.start();
    await guard(ctl.hello, "the guest's hello");
    return {
      machine,
      ctl,
      guard,
      copyIn: (source, destination) => copyIn({ source, destination }, ctl, guard),
      run: async (script, timeoutMs) => {
        const stdout = new PassThrough();
        let output = '';
        stdout.on('data', (chunk: Buffer) => {
          output += chunk.toString('utf8');
        });
        const command = ctl.run(['sh', '-c', script], { stdout, stderr: stdout });
        return { status: await guard(command.status, 'the command', timeoutMs), output };
      },
    };
  } catch (error) {
    await machine.quit();
    throw error;
  }
}

/** The same with the driver's module (of the kernel's flavour `m`), not loaded, as `/root/lemona.ko`. */
export async function bootWithModule(
  folder: string,
  kernel: { readonly module: string | null },
  ctx: LabContext,
): Promise<BareGuest> {
  if (kernel.module === null) throw new Error('the kernel has no module');
  const guest = await bootBareGuest(folder, { config: 'module-unloaded' }, ctx);
  await guest.copyIn(kernel.module, '/root/lemona.ko');
  return guest;
}
