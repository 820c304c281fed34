// SPDX-License-Identifier: MIT
import type { RunManifest } from '../../lab/run/manifest.js';

/** A run.json for runs that nobody recorded, of a run that ended well, and what differs of it. */
export function manifestOf(change: Partial<RunManifest> = {}): RunManifest {
  return {
    format: 1,
    name: 'one',
    created: '2026-01-01T00:00:00.000Z',
    state: 'complete',
    config: 'static-relay',
    flavour: 'y',
    kernel: { digest: 'k', release: '6.12', bzImage: '/k' },
    image: { kind: 'tiny', digest: 'i', raw: '/i' },
    initramfs: { sha256: 'a'.repeat(64) },
    smp: 1,
    memoryMiB: 512,
    kernelArgs: [],
    qemuArgs: [],
    accelerator: 'tcg',
    acceleratorWhy: 'asked for',
    qemuVersion: '7.2.22',
    command: ['true'],
    copyIn: [],
    exitStatus: 0,
    timedOut: false,
    seconds: { boot: 1, command: 1, total: 3 },
    checkpoints: [],
    marks: [],
    disk: { sha256: null },
    trace: { segments: 1, bytes: 100, subbufs: 1, tornBytes: 0 },
    problems: [],
    ...change,
  };
}

/** What run.json counts of sub-buffers that arrived. */
export function traceOf(subbufs: readonly Buffer[], segments = 1): RunManifest['trace'] {
  const bytes = subbufs.reduce((sum, { length }) => sum + length, 0);
  return { segments, bytes, subbufs: subbufs.length, tornBytes: 0 };
}
