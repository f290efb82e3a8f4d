// All operations, in the order in which people read about them.

import * as buckets from './buckets.js';
import * as kinds from './kinds.js';
import * as objects from './objects.js';
import type { Operation } from './operation.js';

// The exports of a module come by the alphabet. People look first, and remove last; a verb that is not
// here comes between.
const FIRST = [
  ...['list', 'create', 'show', 'find', 'find-everywhere', 'add', 'assign', 'set'],
  ...['move', 'rename', 'merge', 'pin', 'unpin', 'cordon', 'uncordon', 'history', 'explain'],
];
const LAST = 'remove';

export const OPERATIONS: readonly Operation[] = [kinds, buckets, objects].flatMap((operations) =>
  Object.values<Operation>(operations).sort((a, b) => rank(a) - rank(b)),
);

function rank({ name }: Operation): number {
  const verb = name.replace(/^\S+ /, '');
  if (verb === LAST) return FIRST.length + 1;
  return FIRST.includes(verb) ? FIRST.indexOf(verb) : FIRST.length;
}
