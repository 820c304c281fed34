// SPDX-License-Identifier: MIT
/** Compares two manifests as they stream by; memory grows with what was lost only. */
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
  /** Names that were left out, because nothing is known of them. */
  readonly leftOut: number;
  /** Fields that differ where they may. */
  readonly allowed: number;
}

/** What may differ at a path. */
export interface Allowance {
  /** The name itself, and all below it. */
  readonly anything: boolean;
  /** A folder may lack names. */
  readonly entries: boolean;
  readonly attributes: boolean;
  readonly times: boolean;
  readonly xattrs: boolean;
}

/** By which allowance a field may differ; the others never may. Content that may differ is masked in the manifests. */
const ALLOWED_BY: Readonly<Partial<Record<Field, keyof Allowance>>> = {
  mode: 'attributes',
  uid: 'attributes',
  gid: 'attributes',
  size: 'attributes',
  flags: 'attributes',
  projid: 'attributes',
  nlink: 'entries',
  atime: 'times',
  mtime: 'times',
  ctime: 'times',
  btime: 'times',
  xattrs: 'xattrs',
};

type Lines = AsyncGenerator<ManifestName, ManifestEnd, void>;

/**
 * Merges the two sides by path; every difference goes to `report`.
 *
 * @param allowances by path; a difference that one of them allows is none
 */
export async function compareManifests(
  rebuilt: Lines,
  truth: Lines,
  report: (difference: Difference) => void,
  allowances: ReadonlyMap<string, Allowance> = new Map(),
): Promise<Comparison> {
  let compared = 0;
  let differences = 0;
  let leftOut = 0;
  let allowed = 0;
  /** Prefix of the paths below a name of which nothing is known. */
  let under: string | undefined;
  const leaveOut = (path: string) => {
    leftOut++;
    if (under === undefined || !path.startsWith(under)) under = path === '/' ? '/' : `${path}/`;
  };
  /** Whether nothing is known of a name that stands at this path. */
  const isUnknown = (path: string) =>
    (under !== undefined && path.startsWith(under)) || allowances.get(path)?.anything === true;
  const mayBeNew = (path: string) => {
    const folder = allowances.get(path.slice(0, path.lastIndexOf('/')) || '/');
    return folder?.entries === true;
  };
  /** Names that were left out because they may be new; not those below them. */
  const newNames = new Set<string>();
  /** Whether a path that went by, the first one of an inode with several links, is one of those left out. */
  const isLeftOut = (link: string) => {
    for (let end = link.length; end > 0; end = link.lastIndexOf('/', end - 1)) {
      const path = link.slice(0, end);
      if (newNames.has(path) || allowances.get(path)?.anything === true) return true;
    }
    return allowances.get('/')?.anything === true;
  };
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
          leftOut,
          allowed,
          names: { rebuilt: a.value.names, truth: b.value.names },
          bytes: { rebuilt: a.value.bytes, truth: b.value.bytes },
        };
      }
      if (!a.done && (b.done || a.value.sortKey < b.value.sortKey)) {
        const { path } = a.value;
        if (isUnknown(path)) leaveOut(path);
        else tell({ path, field: 'name', rebuilt: 'present', truth: 'absent' });
        a = await side(rebuilt, a.value);
      } else if (!b.done && (a.done || b.value.sortKey < a.value.sortKey)) {
        const { path } = b.value;
        if (!isUnknown(path) && mayBeNew(path)) newNames.add(path);
        if (isUnknown(path) || mayBeNew(path)) leaveOut(path);
        else tell({ path, field: 'name', rebuilt: 'absent', truth: 'present' });
        b = await side(truth, b.value);
      } else if (!a.done && !b.done) {
        const { path } = a.value;
        if (isUnknown(path)) {
          leaveOut(path);
        } else {
          compared++;
          const allowance = allowances.get(path);
          for (const [i, field] of FIELDS.entries()) {
            const seen = a.value.values[i] ?? '';
            const wanted = b.value.values[i] ?? '';
            if (seen === wanted) continue;
            const by = ALLOWED_BY[field];
            const isAllowed =
              field === 'link' ? isLeftOut(seen) || isLeftOut(wanted) : by !== undefined && allowance?.[by] === true;
            if (isAllowed) allowed++;
            else tell({ path, field, rebuilt: seen, truth: wanted });
          }
        }
        [a, b] = await Promise.all([side(rebuilt, a.value), side(truth, b.value)]);
      }
    }
  } finally {
    await rebuilt.return({ names: 0, bytes: 0n });
    await truth.return({ names: 0, bytes: 0n });
  }
}
