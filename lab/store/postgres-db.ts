// SPDX-License-Identifier: MIT
/** PostgreSQL: the one file that imports `pg`, at the first use. Whatever is read is text. */
import type pg from 'pg';
import { abortError, LabError, messageOf, systemCodeOf, throwIfAborted } from '../util/errors.js';
import { type Answer, PAGE_ROWS, type Page, type Question, questionError } from './query.js';
import { checkVersion } from './schema.js';

export type PostgresCell = string | null;

/** One that is there and does not answer would be waited for without an end. */
const CONNECT_MS = 10_000;

/** Whether `--db` names a server's database and not a file. */
export function isPostgres(db: string): boolean {
  const [scheme] = /^[a-z][a-z0-9+.-]*:\/\//i.exec(db) ?? [];
  if (scheme === undefined) return false;
  // As a file its name would be in messages, and a password may stand in it.
  if (!/^postgres(ql)?:/i.test(scheme))
    throw new LabError('LAB_USAGE', `--db ${scheme}…: there is no such kind of database`, {
      next: 'name a file, or postgres://…',
    });
  return true;
}

function clientOf(Client: typeof pg.Client, url: string): pg.Client {
  try {
    return new Client({
      connectionString: url,
      connectionTimeoutMillis: CONNECT_MS,
      // A number would become a double, or text, as its type is: all are text.
      types: { getTypeParser: () => (text: string) => text },
    });
  } catch (error) {
    // Without its cause: an error of a URL has the URL.
    throw new LabError('LAB_USAGE', `--db: this is no URL of a database in PostgreSQL: ${messageOf(error)}`, {
      next: 'a password is better in PGPASSWORD or ~/.pgpass; in a URL, / ? # @ % are %2F %3F %23 %40 %25',
    });
  }
}

/** Connects; the message of an error does not hold the URL, in which a password may stand. */
export async function connect(url: string): Promise<pg.Client> {
  const { default: driver } = await import('pg');
  const client = clientOf(driver.Client, url);
  // One that is lost fails the next statement, which says so.
  client.on('error', () => {});
  try {
    await client.connect();
    return client;
  } catch (error) {
    throw new LabError(
      'LAB_ENV_MISSING',
      `connecting to PostgreSQL at ${client.host}:${client.port}: ${messageOf(error)}`,
      {
        cause: error,
        next: 'start the server, or check the URL of --db, and the password: PGPASSWORD, ~/.pgpass or in the URL',
      },
    );
  }
}

/** Classes of the SQLSTATE that speak of the statement, and not of the server: bad data, syntax, what is not there. */
const OF_THE_QUESTION = /^(22|42|0A)/;
const CANCELLED = '57014';
/** Nothing of a second one that ends the read-only transaction; the driver's types do not know it. */
const ONE_STATEMENT = { queryMode: 'extended' } as const;

/** A database of a server that is only read. One question at a time. */
export class PostgresQueries {
  readonly #client: pg.Client;
  readonly #signal: AbortSignal;
  readonly #onAbort: () => void;

  private constructor(client: pg.Client, signal: AbortSignal, onAbort: () => void) {
    this.#client = client;
    this.#signal = signal;
    this.#onAbort = onAbort;
    signal.addEventListener('abort', onAbort, { once: true });
  }

  static async open(url: string, signal: AbortSignal): Promise<PostgresQueries> {
    const client = await connect(url);
    try {
      await client.query('SET default_transaction_read_only = on');
      const [schema] = (await client.query<{ there: string }>("SELECT to_regclass('lemona_schema') AS there")).rows;
      if (schema?.there != null) {
        const [row] = (await client.query<{ version: string }>('SELECT version FROM lemona_schema')).rows;
        checkVersion(`PostgreSQL database ${client.database ?? ''}`, Number(row?.version));
      }
      const { rows } = await client.query<{ pid: string }>('SELECT pg_backend_pid() AS pid');
      return new PostgresQueries(client, signal, () => void cancel(url, rows[0]?.pid ?? '0'));
    } catch (error) {
      await client.end();
      throw error;
    }
  }

  async ask({ sql, bound }: Question): Promise<Answer> {
    throwIfAborted(this.#signal, 'query');
    try {
      await this.#client.query('ROLLBACK; BEGIN');
      const text = `DECLARE answer NO SCROLL CURSOR FOR ${sql}`;
      const declaration = { text, values: [...bound], ...ONE_STATEMENT };
      await this.#client.query(declaration);
      const first = await this.#page();
      return { columns: first.columns, pages: this.#pages(first.page) };
    } catch (error) {
      throw answerError(error);
    }
  }

  async #page(): Promise<{ readonly columns: string[]; readonly page: Page }> {
    const text = `FETCH ${PAGE_ROWS} FROM answer`;
    const { fields, rows } = await this.#client.query<PostgresCell[]>({ text, rowMode: 'array' });
    return { columns: fields.map(({ name }) => name), page: rows };
  }

  async *#pages(first: Page): AsyncGenerator<Page, void, void> {
    for (let page = first; ; ) {
      if (page.length > 0) yield page;
      if (page.length < PAGE_ROWS) return;
      try {
        ({ page } = await this.#page());
      } catch (error) {
        throw answerError(error);
      }
    }
  }

  async close(): Promise<void> {
    this.#signal.removeEventListener('abort', this.#onAbort);
    await this.#client.end();
  }
}

function answerError(error: unknown): LabError {
  const code = systemCodeOf(error) ?? '';
  if (code === CANCELLED) return abortError('query', error);
  if (OF_THE_QUESTION.test(code)) return questionError(error);
  return new LabError('LAB_ENV_IO', `PostgreSQL: ${messageOf(error)}`, { cause: error });
}

/** Ends what another connection has running. */
async function cancel(url: string, pid: string): Promise<void> {
  try {
    const client = await connect(url);
    await client.query('SELECT pg_cancel_backend($1)', [pid]);
    await client.end();
  } catch {
    // The server is gone, and the statement with it.
  }
}
