// SPDX-License-Identifier: MIT
/** A skip says why: it is no pass. */
export function skip(context: Mocha.Context, reason: string): never {
  const test = context.test;
  if (test !== undefined) test.title = `${test.title} — skipped: ${reason}`;
  return context.skip();
}
