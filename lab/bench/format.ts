// SPDX-License-Identifier: MIT
/** Numbers as people read them. Pure. */

/** `1.23 G`, `45.6 k`, `789`. */
export function amount(value: number): string {
  const units = ['', ' k', ' M', ' G', ' T'];
  let unit = 0;
  let rest = value;
  while (Math.abs(rest) >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit++;
  }
  if (unit === 0 && Number.isInteger(rest)) return String(rest);
  return `${rest.toPrecision(3)}${units[unit] ?? ''}`;
}

/** `+5.3 %`, `-0.02 %`. */
export function percent(part: number): string {
  const value = part * 100;
  const digits = Math.abs(value) >= 10 ? 1 : Math.abs(value) >= 1 ? 2 : 3;
  return `${value >= 0 ? '+' : '−'}${Math.abs(value).toFixed(digits)} %`;
}

export function bytes(value: number): string {
  return `${amount(value)}B`.replace(/(\d)B$/, '$1 B');
}

export function seconds(value: number): string {
  if (value >= 1) return `${value.toPrecision(3)} s`;
  return value >= 1e-3 ? `${(value * 1e3).toPrecision(3)} ms` : `${(value * 1e6).toPrecision(3)} µs`;
}
