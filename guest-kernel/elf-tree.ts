// SPDX-License-Identifier: MIT
/** The machine code of a whole build tree, and the difference of two. */
import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { runTool } from '../lab/proc/tool.js';
import { LabError } from '../lab/util/errors.js';
import { type CodeSection, codeSections } from './elf.js';

/** Objects that are linked elsewhere than in vmlinux.a: start code, vDSO, real-mode trampoline. */
const OTHER_FOLDERS = [
  'arch/x86/boot',
  'arch/x86/boot/compressed',
  'arch/x86/entry/vdso',
  'arch/x86/entry/vdso/vdso32',
  'arch/x86/realmode/rm',
];

/** Thin archives whose members make up vmlinux. */
const ARCHIVES = ['vmlinux.a', 'lib/lib.a', 'arch/x86/lib/lib.a'];

export interface TreeText {
  /** `vmlinux` and every object by its path in the build tree. */
  readonly files: Readonly<Record<string, readonly CodeSection[]>>;
}

/** How many objects a build tree holds by now, of whatever kind. */
export async function countObjects(build: string): Promise<number> {
  const entries = await readdir(build, { recursive: true }).catch(() => []);
  return entries.filter((name) => name.endsWith('.o')).length;
}

/**
 * Paths of the objects the kernel in a build tree is linked from, sorted. Only
 * those: the tree also holds what another flavour left there.
 */
export async function linkedObjects(build: string): Promise<string[]> {
  const names = new Set<string>();
  for (const archive of ARCHIVES) {
    for (const name of (await runTool(['ar', 't', archive], { cwd: build })).split('\n')) {
      if (name.endsWith('.o')) names.add(name);
    }
  }
  for (const folder of OTHER_FOLDERS) {
    for (const name of await readdir(path.join(build, folder))) {
      if (name.endsWith('.o')) names.add(`${folder}/${name}`);
    }
  }
  return [...names].sort();
}

/** Reads the code of vmlinux and of each object; what is not ELF-64 (16-bit start code, linker lists) is left out. */
export async function textOfTree(build: string, objects: readonly string[]): Promise<TreeText> {
  const files: Record<string, readonly CodeSection[]> = {};
  for (const name of ['vmlinux', ...objects]) {
    const sections = codeSections(await readFile(path.join(build, name)));
    if (sections !== undefined) files[name] = sections;
  }
  if (files.vmlinux === undefined) throw new LabError('LAB_KERNEL_BUILD', `${build}/vmlinux is not an ELF-64 file`);
  return { files };
}

export interface TextDifference {
  readonly file: string;
  readonly section: string;
  readonly what: string;
}

export interface TextComparison {
  readonly files: number;
  readonly sections: number;
  readonly bytes: number;
  readonly differences: readonly TextDifference[];
}

/** Compares section by section, in order. Pure. */
export function compareText(vanilla: TreeText, other: TreeText): TextComparison {
  const differences: TextDifference[] = [];
  let files = 0;
  let sections = 0;
  let bytes = 0;
  for (const file of [...new Set([...Object.keys(vanilla.files), ...Object.keys(other.files)])].sort()) {
    const a = vanilla.files[file];
    const b = other.files[file];
    if (a === undefined || b === undefined) {
      differences.push({
        file,
        section: '',
        what: a === undefined ? 'vanilla does not have it' : 'only vanilla has it',
      });
      continue;
    }
    files += 1;
    for (let index = 0; index < Math.max(a.length, b.length); index++) {
      const left = a[index];
      const right = b[index];
      if (left?.name !== right?.name || left === undefined || right === undefined) {
        const what = `section ${index} is ${left?.name ?? 'absent'} in vanilla, ${right?.name ?? 'absent'} in the other`;
        differences.push({ file, section: left?.name ?? right?.name ?? '', what });
        continue;
      }
      sections += 1;
      bytes += left.sizeBytes;
      if (left.sizeBytes !== right.sizeBytes) {
        differences.push({
          file,
          section: left.name,
          what: `${left.sizeBytes} bytes in vanilla, ${right.sizeBytes} in the other`,
        });
      } else if (left.sha256 !== right.sha256) {
        differences.push({ file, section: left.name, what: `${left.sizeBytes} bytes each, but not the same` });
      }
    }
  }
  return { files, sections, bytes, differences };
}
