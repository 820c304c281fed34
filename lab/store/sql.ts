// SPDX-License-Identifier: MIT
/** The schema as SQL, for SQLite and for PostgreSQL: pure functions, text out. */
import { type IndexDef, type TableDef, type TableName, tableOf } from './schema.js';

export type Dialect = 'sqlite' | 'postgres';

export function createTable(table: TableDef, dialect: Dialect): string {
  const types =
    dialect === 'sqlite'
      ? { int: 'INTEGER', time: 'INTEGER', text: 'TEXT' }
      : { int: 'bigint', time: 'bigint', text: 'text' };
  const columns = table.columns.map(({ name, type, isNullable }, i) => {
    const constraint = i === 0 ? ' PRIMARY KEY' : isNullable === true ? '' : ' NOT NULL';
    return `${name} ${types[type]}${constraint}`;
  });
  return `CREATE TABLE IF NOT EXISTS ${table.name}(${columns.join(', ')})${dialect === 'sqlite' ? ' STRICT' : ''}`;
}

/** PostgreSQL's B-trees take keys up to a third of a page; a text may be longer, its digest is not. */
function keyOf(table: TableDef, column: string, dialect: Dialect): string {
  const isText = table.columns.find((c) => c.name === column)?.type === 'text';
  return isText && dialect === 'postgres' ? `md5(${column})` : column;
}

export function createIndex(table: TableDef, index: IndexDef, dialect: Dialect): string {
  const unique = index.isUnique === true ? 'UNIQUE ' : '';
  const name = [table.name, ...index.columns].join('_');
  const keys = index.columns.map((column) => keyOf(table, column, dialect)).join(', ');
  const where = index.where === undefined ? '' : ` WHERE ${index.where}`;
  return `CREATE ${unique}INDEX IF NOT EXISTS ${name} ON ${table.name}(${keys})${where}`;
}

/** Rows of a batch into a table: ?1 the batch, ?2 its width, ?3 what its times are offsets from. */
export function insertBatch(name: TableName): string {
  return insertFrom('lemona_batch', name);
}

/** The same of rows of integers. */
export function insertRows(name: TableName): string {
  return insertFrom('lemona_rows', name);
}

function insertFrom(source: string, name: TableName): string {
  const { columns } = tableOf(name);
  const values = columns.map((column, i) => (column.type === 'time' ? `CAST(?3 AS INTEGER) + c${i}` : `c${i}`));
  return `INSERT INTO ${name} SELECT ${values.join(', ')} FROM ${source}(?1, ?2)`;
}

/** Changes by a batch: the first column says which row. */
export function updateBatch(name: TableName, columns: readonly string[]): string {
  const types = new Map(tableOf(name).columns.map((column) => [column.name, column.type]));
  const [key, ...rest] = columns;
  const sets = rest.map((column, i) => {
    const value = `b.c${i + 1}`;
    return `${column} = ${types.get(column) === 'time' ? `CAST(?3 AS INTEGER) + ${value}` : value}`;
  });
  return `UPDATE ${name} SET ${sets.join(', ')} FROM lemona_batch(?1, ?2) b WHERE ${name}.${key} = b.c0`;
}

/** A time in nanoseconds since 1970 as `2026-01-02T03:04:05.123456789Z`. */
function iso(ns: string, dialect: Dialect): string {
  return dialect === 'sqlite'
    ? `strftime('%Y-%m-%dT%H:%M:%S', ${ns} / 1000000000, 'unixepoch') || printf('.%09dZ', ${ns} % 1000000000)`
    : `to_char(to_timestamp(${ns} / 1000000000) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS') || '.' || lpad((${ns} % 1000000000)::text, 9, '0') || 'Z'`;
}

/** What PostgreSQL takes for words: those that SQLite's full-text index has too. */
function words(text: string): string {
  const signs = `!"#$%&''()*+,-./:;<=>?@[]^\`{|}~`;
  return `translate(${text}, '${signs}\\', '${' '.repeat(signs.length)}')`;
}

/** PostgreSQL's full-text index. */
export function searchIndex(): string {
  return `CREATE INDEX IF NOT EXISTS texts_search ON texts USING gin(to_tsvector('simple', ${words('text')}))`;
}

/** The full-text condition: rows of `texts` that match; `parameter` is what is looked for. */
function matching(parameter: string, dialect: Dialect): string {
  return dialect === 'sqlite'
    ? `SELECT rowid FROM search WHERE search MATCH ${parameter}`
    : `SELECT id FROM texts WHERE to_tsvector('simple', ${words('text')}) @@ plainto_tsquery('simple', ${words(`${parameter}::text`)})`;
}

/**
 * Fills in what differs between the dialects: `{iso COLUMN}` a time as text, `{matching N}` the ids of texts that match
 * parameter N, `{N}` parameter N, `{text N}` and `{int N}` the same with a type.
 */
export function fillIn(template: string, dialect: Dialect): string {
  const parameter = (n: string): string => `${dialect === 'sqlite' ? '?' : '$'}${n}`;
  return template
    .replaceAll(/\{iso ([\w.]+)\}/g, (_all, ns: string) => iso(ns, dialect))
    .replaceAll(/\{matching (\d)\}/g, (_all, n: string) => matching(parameter(n), dialect))
    .replaceAll(/\{(text|int) (\d)\}/g, (_all, type: string, n: string) =>
      type === 'text'
        ? `CAST(${parameter(n)} AS text)`
        : `CAST(${parameter(n)} AS ${dialect === 'sqlite' ? 'INTEGER' : 'bigint'})`,
    );
}
