// SPDX-License-Identifier: MIT
/** Compares two manifests as they stream by; memory does not grow with them. */
import { LabError } from '../../lab/util/errors.js';
import { FIELDS, type Field, type ManifestEnd, type ManifestName } from './lines.js';

/** One field of one name that differs; field `name` where one side has no such name. */
export interface Difference {
  /** As in the manifests: odd bytes are %XX. */
  readonly path: string;
  readonly field: Field | 'name';
  readonly rebuilt: string;
  readonly truth: string;
}

export interface Comparison {
  /** Names that both sides have. */
  readonly compared: number;
  readonly names: { readonly rebuilt: number; readonly truth: number };
  /** Content hashed, each side. */
  readonly bytes: { readonly rebuilt: bigint; readonly truth: bigint };
  readonly differences: number;
}

type Lines = AsyncGenerator<ManifestName, ManifestEnd, void>;

/** Merges the two sides by path; every difference goes to `report`. */
export async function compareManifests(
  rebuilt: Lines,
  truth: Lines,
  report: (difference: Difference) => void,
): Promise<Comparison> {
  let compared = 0;
  let differences = 0;
  const tell = (difference: Difference) => {
    differences++;
    report(difference);
  };
  const side = async (lines: Lines, before: ManifestName | undefined) => {
    const step = await lines.next();
    if (!step.done && before !== undefined && step.value.sortKey <= before.sortKey) {
      throw new LabError('LAB_BUG', `a manifest has ${step.value.path} after ${before.path}`);
    }
    return step;
  };
  try {
    let [a, b] = await Promise.all([side(rebuilt, undefined), side(truth, undefined)]);
    for (;;) {
      if (a.done && b.done) {
        return {
          compared,
          differences,
          names: { rebuilt: a.value.names, truth: b.value.names },
          bytes: { rebuilt: a.value.bytes, truth: b.value.bytes },
        };
      }
      if (!a.done && (b.done || a.value.sortKey < b.value.sortKey)) {
        tell({ path: a.value.path, field: 'name', rebuilt: 'present', truth: 'absent' });
        a = await side(rebuilt, a.value);
      } else if (!b.done && (a.done || b.value.sortKey < a.value.sortKey)) {
        tell({ path: b.value.path, field: 'name', rebuilt: 'absent', truth: 'present' });
        b = await side(truth, b.value);
      } else if (!a.done && !b.done) {
        compared++;
        for (const [i, field] of FIELDS.entries()) {
          const seen = a.value.values[i] ?? '';
          const wanted = b.value.values[i] ?? '';
          if (seen !== wanted) tell({ path: a.value.path, field, rebuilt: seen, truth: wanted });
        }
        [a, b] = await Promise.all([side(rebuilt, a.value), side(truth, b.value)]);
      }
    }
  } finally {
    await rebuilt.return({ names: 0, bytes: 0n });
    await truth.return({ names: 0, bytes: 0n });
  }
}
