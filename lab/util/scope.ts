// SPDX-License-Identifier: MIT
/**
 * Disposal: whoever opens a thing defers its closing in the same scope.
 * Closers run in reverse order, each of them even if another failed.
 * (Node 20 has no `await using`.)
 */
export class Scope {
  readonly #closers: { readonly label: string; readonly close: () => Promise<void> | void }[] = [];
  #closed = false;

  /** Registers a closer. On a scope already closed it is a broken contract. */
  defer(label: string, close: () => Promise<void> | void): void {
    if (this.#closed) throw new Error(`scope: '${label}' was deferred after the scope was closed`);
    this.#closers.push({ label, close });
  }

  /** Registers the closer of `resource` and returns it. */
  use<T>(label: string, resource: T, close: (resource: T) => Promise<void> | void): T {
    this.defer(label, () => close(resource));
    return resource;
  }

  /** Runs all closers in reverse; returns what they threw. Safe to call twice. */
  async close(): Promise<Error[]> {
    this.#closed = true;
    const errors: Error[] = [];
    for (let closer = this.#closers.pop(); closer !== undefined; closer = this.#closers.pop()) {
      try {
        await closer.close();
      } catch (error) {
        errors.push(new Error(`closing ${closer.label} failed`, { cause: error }));
      }
    }
    return errors;
  }
}

/**
 * Runs `work` in a scope that is closed whatever happens. The error of `work`
 * wins; an error of a closer is thrown only if `work` succeeded.
 */
export async function withScope<T>(work: (scope: Scope) => Promise<T>): Promise<T> {
  const scope = new Scope();
  let result: T;
  try {
    result = await work(scope);
  } catch (error) {
    await scope.close();
    throw error;
  }
  const errors = await scope.close();
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) throw new AggregateError(errors, errors.map((error) => error.message).join('; '));
  return result;
}
