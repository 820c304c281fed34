// SPDX-License-Identifier: MIT
/** Takes the disk's snapshot for a mark while the guest's file system is frozen. */
import type { MarkRequest } from '../link/mark.js';
import { type Deferred, deferred } from '../util/deadline.js';
import { LabError, messageOf } from '../util/errors.js';
import type { QmpClient } from '../vm/qmp.js';
import { markSnapshotName } from './disk.js';
import type { MarkEntry } from './manifest.js';

/** The highest number that a mark stands at; 0n without marks. Pure. */
export function lastMarkSeq(marks: readonly Pick<MarkEntry, 'seq'>[]): bigint {
  return marks.reduce((last, { seq }) => (BigInt(seq) > last ? BigInt(seq) : last), 0n);
}

/** Marks that only the run itself may take, at the moment it expects them. */
const RESERVED = ['start', 'end'];

/** Each mark is a snapshot in the disk's table and an entry of run.json, which is written anew for each. */
const MARKS_MAX = 10_000;

/** A snapshot writes the disk's tables; on a slow disk that takes seconds. */
const SNAPSHOT_TIMEOUT_MS = 60_000;

export class MarkTaker {
  readonly #qmp: QmpClient;
  readonly #diskNode: string;
  readonly #keep: (mark: MarkEntry) => Promise<void>;
  readonly #labels = new Set<string>();
  readonly #allowed = new Set<string>();
  readonly #expected = new Map<string, Deferred<MarkEntry>>();

  constructor(qmp: QmpClient, diskNode: string, keep: (mark: MarkEntry) => Promise<void>) {
    this.#qmp = qmp;
    this.#diskNode = diskNode;
    this.#keep = keep;
  }

  /** From now on the guest may take this reserved mark. */
  allow(label: string): void {
    this.#allowed.add(label);
  }

  /** Allows a reserved mark; settles with it when the guest has taken it. */
  expect(label: string): Promise<MarkEntry> {
    this.allow(label);
    const mark = deferred<MarkEntry>();
    this.#expected.set(label, mark);
    return mark.promise;
  }

  /** Snapshots the disk and notes the mark; a label can be used once. */
  async take(request: MarkRequest): Promise<void> {
    const { label } = request;
    if (RESERVED.includes(label) && !this.#allowed.has(label)) {
      throw new LabError('LAB_USAGE', `the label '${label}' is the run's own`);
    }
    if (this.#labels.has(label)) throw new LabError('LAB_USAGE', `this run has a mark '${label}' already`);
    if (this.#labels.size >= MARKS_MAX && !RESERVED.includes(label))
      throw new LabError('LAB_USAGE', `this run has ${MARKS_MAX} marks already`);
    const snapshot = markSnapshotName(label);
    try {
      await this.#qmp.execute(
        'blockdev-snapshot-internal-sync',
        { device: this.#diskNode, name: snapshot },
        { timeoutMs: SNAPSHOT_TIMEOUT_MS },
      );
    } catch (error) {
      const failure = /no space left/i.test(messageOf(error))
        ? new LabError('LAB_ENV_DISK_FULL', `mark '${label}': no space left on the host's disk for the snapshot`, {
            cause: error,
            next: 'free some space, or choose another folder with --runs',
          })
        : error;
      this.#expected.get(label)?.reject(failure);
      throw failure;
    }
    this.#labels.add(label);
    const mark: MarkEntry = { label, seq: String(request.seq), realNs: String(request.realNs), snapshot };
    await this.#keep(mark);
    this.#expected.get(label)?.resolve(mark);
  }
}
