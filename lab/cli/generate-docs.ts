// SPDX-License-Identifier: MIT
/** Writes the documents that are made from tables; `--check` writes nothing and fails if one differs. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { renderSchemaDoc } from '../store/docs.js';
import { renderDocs } from './docs.js';
import { ROOT } from './invocation.js';

const DOCS = [
  { name: 'docs/cli.md', render: renderDocs },
  { name: 'docs/schema.md', render: renderSchemaDoc },
] as const;

for (const { name, render } of DOCS) {
  const file = path.join(ROOT, name);
  if (!process.argv.includes('--check')) await writeFile(file, render());
  else if ((await readFile(file, 'utf8').catch(() => '')) !== render()) {
    process.stderr.write(`${name} differs from the tables it is made from; next: npm run generate\n`);
    process.exitCode = 1;
  }
}
