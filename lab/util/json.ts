// SPDX-License-Identifier: MIT
/** JSON in which a bigint is a decimal string, as in run.json. */
export function toJson(value: unknown): string {
  return JSON.stringify(value, (_key, inner: unknown) => (typeof inner === 'bigint' ? inner.toString() : inner));
}
