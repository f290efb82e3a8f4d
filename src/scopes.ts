// What tokens may do. A scope is a set of rights; no scope is merely "more" than another.

/** What an operation needs: exactly one of these. */
export type Right =
  | 'find' // say where one object is
  | 'read' // see everything else
  | 'assign' // put objects where their first request would
  | 'lease' // take, renew and give back leases, and acknowledge objects
  | 'write'; // change anything else

export const SCOPES = ['read', 'assign', 'lease', 'write'] as const;
export type Scope = (typeof SCOPES)[number];

/** The rights of each scope. */
export const RIGHTS: Readonly<Record<Scope, ReadonlySet<Right>>> = {
  read: new Set(['find', 'read']),
  assign: new Set(['find', 'assign']),
  lease: new Set(['find', 'read', 'lease']),
  write: new Set(['find', 'read', 'assign', 'lease', 'write']),
};

/** The same for people: "the token of … may …". */
export const MAY: Readonly<Record<Scope, string>> = {
  read: 'read, and change nothing',
  assign: 'find and assign objects, and do nothing else',
  lease: 'read and hold leases, and change nothing else',
  write: 'do everything',
};

/** What one caller may do. */
export interface Permission {
  readonly rights: ReadonlySet<Right>;
  /** The kinds that the caller is limited to; undefined: all. */
  readonly kinds: readonly string[] | undefined;
}

/** Whether a caller may see and change a kind. */
export function mayUse(kind: string, kinds: readonly string[] | undefined): boolean {
  return kinds === undefined || kinds.includes(kind);
}
