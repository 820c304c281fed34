// SPDX-License-Identifier: MIT
/**
 * Which accelerator QEMU gets, found out by really booting.
 *
 * `/dev/kvm` may open, create a VM, and then emulate so slowly that no kernel
 * boots. So the guest's own kernel is booted under KVM to its hello, within a
 * deadline; the answer is cached for this boot of the host.
 */

import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runTool } from '../proc/tool.js';
import { LabError, messageOf, systemCodeOf } from '../util/errors.js';
import type { Log } from '../util/log.js';
import { CtlClient } from './ctl.js';
import { Machine } from './machine.js';
import { type Accelerator, QEMU_PROGRAM } from './qemu-args.js';

export interface AcceleratorChoice {
  readonly accelerator: Accelerator;
  /** One sentence for people, and for run.json. */
  readonly why: string;
}

/** What is booted to find out; `digest` names it in the cache. */
export interface ProbeGuest {
  readonly digest: string;
  readonly kernel: string;
  readonly initrd: string;
  /** Root file system; left as it is. */
  readonly rootRaw: string;
}

export interface AcceleratorDeps {
  readonly log: Log;
  readonly cacheDir: string;
  readonly signal?: AbortSignal | undefined;
  /** Replaced in tests. */
  readonly kvmDevice?: string;
  readonly bootIdFile?: string;
  readonly qemuVersion?: () => Promise<string>;
  /** Boots to hello under an accelerator; returns the milliseconds it took, throws if it did not. */
  readonly boot?: (guest: ProbeGuest, accelerator: Accelerator) => Promise<number>;
}

/** Twenty times what the same boot takes when emulated; real KVM needs less than a second. */
const PROBE_DEADLINE_MS = 30_000;

/** `/dev/kvm` absent or closed to us answers at once; otherwise a boot under KVM decides, once per host boot. */
export async function chooseAccelerator(guest: ProbeGuest, deps: AcceleratorDeps): Promise<AcceleratorChoice> {
  const device = deps.kvmDevice ?? '/dev/kvm';
  try {
    await access(device, constants.R_OK | constants.W_OK);
  } catch (error) {
    const absent = systemCodeOf(error) === 'ENOENT';
    return {
      accelerator: 'tcg',
      why: absent ? `${device} is absent` : `${device} is not open to this user (${systemCodeOf(error)})`,
    };
  }
  const file = path.join(deps.cacheDir, 'accelerator', `${await cacheKey(guest, deps)}.json`);
  const cached = await readChoice(file);
  if (cached !== undefined) return { ...cached, why: `${cached.why} (found out earlier)` };

  const boot = deps.boot ?? ((g: ProbeGuest, a: Accelerator) => bootToHello(g, a, deps));
  let choice: AcceleratorChoice;
  try {
    const tookMs = await boot(guest, 'kvm');
    choice = { accelerator: 'kvm', why: `a guest booted under KVM in ${(tookMs / 1000).toFixed(1)} s` };
  } catch (error) {
    if (error instanceof LabError && error.code === 'LAB_ABORTED') throw error;
    deps.log.debug(`the probe under KVM failed: ${messageOf(error)}`);
    const line = messageOf(error).split('\n')[0] ?? '';
    choice = { accelerator: 'tcg', why: `${device} exists, but no guest booted under KVM: ${line}` };
  }
  await writeChoice(file, choice);
  return choice;
}

async function cacheKey(guest: ProbeGuest, deps: AcceleratorDeps): Promise<string> {
  const bootId = (await readFile(deps.bootIdFile ?? '/proc/sys/kernel/random/boot_id', 'utf8')).trim();
  const version = await (deps.qemuVersion ?? (() => runTool([QEMU_PROGRAM, '--version'])))();
  return createHash('sha256').update([bootId, version.trim(), guest.digest].join('\0')).digest('hex').slice(0, 32);
}

async function readChoice(file: string): Promise<AcceleratorChoice | undefined> {
  try {
    const value: unknown = JSON.parse(await readFile(file, 'utf8'));
    if (typeof value !== 'object' || value === null || !('accelerator' in value) || !('why' in value)) return undefined;
    const { accelerator, why } = value;
    if ((accelerator !== 'kvm' && accelerator !== 'tcg') || typeof why !== 'string') return undefined;
    return { accelerator, why };
  } catch {
    // Absent or damaged: a cache is only asked, never believed over a boot.
    return undefined;
  }
}

async function writeChoice(file: string, choice: AcceleratorChoice): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  const draft = `${file}.${process.pid}`;
  await writeFile(draft, JSON.stringify(choice));
  await rename(draft, file);
}

/** Boots the guest once to its hello, in a folder that is thrown away. */
export async function bootToHello(
  guest: ProbeGuest,
  accelerator: Accelerator,
  deps: { readonly log: Log; readonly signal?: AbortSignal | undefined },
): Promise<number> {
  const folder = await mkdtemp(path.join(tmpdir(), 'lemona-probe-'));
  try {
    const startedMs = performance.now();
    const machine = await Machine.launch(
      {
        name: 'lemona-probe',
        accelerator,
        smp: 1,
        memoryMiB: 512,
        kernel: guest.kernel,
        initrd: guest.initrd,
        append: [],
        disks: [{ nodeName: 'disk0', path: guest.rootRaw, format: 'raw', isThrowaway: true }],
        ports: ['lemona.ctl', 'lemona.trace', 'lemona.mark'],
        logFolder: folder,
        extraArgs: [],
      },
      deps,
    );
    try {
      machine.port('lemona.trace').resume();
      machine.port('lemona.mark').resume();
      const ctl = new CtlClient(machine.port('lemona.ctl'));
      await machine.start();
      await machine.guard(ctl.hello, {
        label: `a boot under ${accelerator} to the guest's hello`,
        timeoutMs: PROBE_DEADLINE_MS,
        code: 'LAB_VM_NO_HELLO',
        signal: deps.signal,
      });
      return performance.now() - startedMs;
    } finally {
      await machine.quit();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
