// SPDX-License-Identifier: MIT
/** Checks every import against lab/deps.ts: violations and stale rows both fail. */
import { readdir, readFile } from 'node:fs/promises';
import { isBuiltin } from 'node:module';
import path from 'node:path';
import ts from 'typescript';
import { CHECKED, DEPS, type DepsRow } from './deps.js';

/** An import as seen: `from` and `to` are paths from the root, or `to` is a package. */
export interface SeenImport {
  readonly from: string;
  readonly to: string;
  readonly external: boolean;
}

/** Imports named in one file's text; dynamic ones with a literal too. Node's own modules are left out. */
export function importsOf(file: string, text: string): SeenImport[] {
  return ts
    .preProcessFile(text, true, true)
    .importedFiles.map(({ fileName }) => fileName)
    .filter((name) => !isBuiltin(name))
    .map((name) =>
      name.startsWith('.')
        ? { from: file, to: path.posix.join(path.posix.dirname(file), name), external: false }
        : {
            from: file,
            to: name
              .split('/')
              .slice(0, name.startsWith('@') ? 2 : 1)
              .join('/'),
            external: true,
          },
    );
}

function rowOf(rows: readonly DepsRow[], file: string): DepsRow | undefined {
  return rows
    .filter((row) => file.startsWith(`${row.folder}/`))
    .filter((row) => row.isShallow !== true || path.posix.dirname(file) === row.folder)
    .sort((a, b) => b.folder.length - a.folder.length)[0];
}

/** One line for each violation and each stale entry. Pure. */
export function checkImports(
  rows: readonly DepsRow[],
  files: readonly string[],
  imports: readonly SeenImport[],
): string[] {
  const problems: string[] = [];
  const used = new Set<string>();
  for (const file of files) {
    if (rowOf(rows, file) === undefined) problems.push(`${file}: its folder has no row in lab/deps.ts`);
  }
  for (const { from, to, external } of imports) {
    const row = rowOf(rows, from);
    if (row === undefined) continue;
    const target = external ? to : rowOf(rows, to)?.folder;
    if (target === row.folder) continue;
    const allowed: readonly string[] = external ? row.packages : row.folders;
    if (target !== undefined && allowed.includes(target)) used.add(`${row.folder} → ${target}`);
    else problems.push(`${from}: may not import ${to}: lab/deps.ts allows ${row.folder} only [${allowed.join(', ')}]`);
  }
  for (const row of rows) {
    if (!files.some((file) => rowOf(rows, file) === row))
      problems.push(`lab/deps.ts: ${row.folder} holds no file: stale row`);
    for (const target of [...row.folders, ...row.packages]) {
      if (!used.has(`${row.folder} → ${target}`))
        problems.push(`lab/deps.ts: ${row.folder} → ${target}: nothing uses it: stale`);
    }
  }
  return [...new Set(problems)];
}

async function listSources(root: string): Promise<string[]> {
  const files: string[] = [];
  for (const top of CHECKED) {
    const entries = await readdir(path.join(root, top), { recursive: true }).catch(() => []);
    for (const entry of entries) if (entry.endsWith('.ts')) files.push(path.posix.join(top, entry));
  }
  return files.sort();
}

if (process.argv[1] === import.meta.filename) {
  const root = path.resolve(import.meta.dirname, '..');
  const files = await listSources(root);
  const imports: SeenImport[] = [];
  for (const file of files) imports.push(...importsOf(file, await readFile(path.join(root, file), 'utf8')));
  const problems = checkImports(DEPS, files, imports);
  for (const problem of problems) process.stderr.write(`${problem}\n`);
  if (problems.length > 0) process.exitCode = 1;
  else process.stderr.write(`deps: ${files.length} files, ${imports.length} imports, all as lab/deps.ts says\n`);
}
