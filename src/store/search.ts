// Which object is it? For what cannot be asked of an index: all names are gone through.

import { checkKind, listKinds } from './kinds.js';
import type { Database } from './database.js';
import { listObjects, type Assignment } from './objects.js';

export interface Match {
  readonly kind: string;
  readonly name: string;
  /** Null of one that is no more, or has another name now: the history alone knows it. */
  readonly object: Assignment | null;
}

/**
 * The first object that fits, or else the first name in the history; undefined where none does. Of
 * all kinds, or of one. Takes the memory of a page. `onNames` is told how many were looked at. Throws
 * `unknown_kind`.
 */
export async function searchObject(
  database: Database,
  fits: (kind: string, name: string) => boolean,
  kind: string | undefined,
  pageSize: number,
  onNames: (count: number) => void = () => undefined,
): Promise<Match | undefined> {
  let count = 0;
  for await (const page of listObjects(database, { kind }, pageSize)) {
    onNames((count += page.length));
    const object = page.find((each) => fits(each.kind, each.name));
    if (object) return { kind: object.kind, name: object.name, object };
  }
  for await (const { kind: of, names } of listChangedNames(database, kind, pageSize)) {
    onNames((count += names.length));
    const name = names.find((each) => fits(of, each));
    if (name !== undefined) return { kind: of, name, object: null };
  }
  return undefined;
}

async function* listChangedNames(
  database: Database,
  kind: string | undefined,
  pageSize: number,
): AsyncGenerator<{ kind: string; names: string[] }> {
  const kinds = await database.read(async (knex) => {
    if (kind === undefined) return (await listKinds(knex)).map(({ name }) => name);
    await checkKind(knex, kind);
    return [kind];
  });
  for (const each of kinds) {
    for (let last: string | undefined = ''; last !== undefined;) {
      const after: string = last;
      const names: string[] = await database.readPage((knex) =>
        knex('change')
          .distinct('name')
          .where({ kind: each })
          .where('name', '>', after)
          .orderBy('name')
          .limit(pageSize)
          .pluck<string[]>('name'),
      );
      yield { kind: each, names };
      last = names.length < pageSize ? undefined : names.at(-1);
    }
  }
}
