// SPDX-License-Identifier: MIT
import { LabError } from '../../lab/util/errors.js';

/** The error that work is wanted to end with. */
export async function failureOf(work: Promise<unknown>): Promise<LabError> {
  const error: unknown = await work.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof LabError)) throw new Error(`wanted a LabError, got ${String(error)}`);
  return error;
}
