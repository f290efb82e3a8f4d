// Where an operation is under /v1.

export interface Route {
  readonly method: 'GET' | 'PUT' | 'POST' | 'PATCH' | 'DELETE';
  /** What stands in braces are fields of its input. */
  readonly path: string;
}

/** The fields that stand in the path. */
export function pathFields({ path }: Pick<Route, 'path'>): string[] {
  return [...path.matchAll(/\{(\w+)\}/g)].map(([, field = '']) => field);
}
