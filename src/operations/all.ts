// All operations, in the order in which people read about them.

import * as buckets from './buckets.js';
import * as kinds from './kinds.js';
import * as objects from './objects.js';
import type { Operation } from './operation.js';

export const OPERATIONS: readonly Operation[] = [
  ...Object.values(kinds),
  ...Object.values(buckets),
  ...Object.values(objects),
];
