// SPDX-License-Identifier: MIT
/** QMP jobs: commands that QEMU finishes later, such as saving and loading the whole VM. */
import { type DeadlineOptions, deferred, withDeadline } from '../util/deadline.js';
import { LabError } from '../util/errors.js';
import type { QmpClient } from './qmp.js';

interface JobInfo {
  readonly id: string;
  readonly status: string;
  readonly error?: string;
}

function jobsOf(value: unknown): readonly JobInfo[] {
  return Array.isArray(value) ? (value as readonly JobInfo[]) : [];
}

/**
 * Runs a job to its end.
 *
 * @throws LabError LAB_QMP_ERROR with what QEMU says was wrong
 */
export async function runJob(
  qmp: QmpClient,
  command: string,
  args: Record<string, unknown>,
  options: Pick<DeadlineOptions, 'timeoutMs' | 'signal'>,
): Promise<void> {
  const id = `${command}-${process.hrtime.bigint()}`;
  const concluded = deferred<void>();
  const stop = qmp.onEvent(({ event, data }) => {
    if (event === 'JOB_STATUS_CHANGE' && data.id === id && data.status === 'concluded') concluded.resolve();
  });
  try {
    await qmp.execute(command, { 'job-id': id, ...args }, { timeoutMs: options.timeoutMs });
    await withDeadline(
      Promise.race([
        concluded.promise,
        qmp.closed.then(() => {
          throw new LabError('LAB_QMP_STATE', `QMP job '${command}': the connection closed before its end`);
        }),
      ]),
      { label: `QMP job '${command}'`, code: 'LAB_QMP_TIMEOUT', ...options },
    );
    const job = jobsOf(await qmp.execute('query-jobs')).find((candidate) => candidate.id === id);
    await qmp.execute('job-dismiss', { id });
    if (job?.error !== undefined) throw new LabError('LAB_QMP_ERROR', `QMP job '${command}' failed: ${job.error}`);
  } finally {
    stop();
  }
}
