// The client's table of routes says of each operation what the operation itself says.

import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { describe, it } from 'node:test';
import { ROUTES } from '../../src/client/routes.js';
import { OPERATIONS } from '../../src/operations/all.js';
import type { Operation } from '../../src/operations/operation.js';

const FOLDER = new URL('../../src/operations/', import.meta.url);

/** All operations, by the names that they are exported with. */
async function exported(): Promise<[name: string, operation: Operation][]> {
  const modules = await Promise.all(
    readdirSync(FOLDER).map((file) => import(new URL(file, FOLDER).href)),
  );
  return modules
    .flatMap((each) => Object.entries(each as Record<string, Operation>))
    .filter(([, each]) => OPERATIONS.includes(each));
}

// An answer that was lost is asked for again: what is one transaction is then done once.
function howOf(operation: Operation): string {
  if ('read' in operation) return 'read';
  if (operation.method === 'PUT') return 'put';
  return 'write' in operation ? 'write' : 'once';
}

describe("the client's routes", () => {
  it('are those of the operations, each by its name, and may be asked again as they allow', async () => {
    const operations = await exported();
    assert.equal(operations.length, OPERATIONS.length);
    const expected = operations.map(([name, operation]) => {
      const { method, path } = operation;
      return [name, { how: howOf(operation), method, path }] as const;
    });
    assert.deepEqual({ ...ROUTES }, Object.fromEntries(expected));
  });
});
