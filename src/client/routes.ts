// Where each operation is, for clients, which have none of the code that does it. A test holds it against
// the operations themselves.

import type * as buckets from '../operations/buckets.js';
import type * as history from '../operations/history.js';
import type * as kinds from '../operations/kinds.js';
import type * as leases from '../operations/leases.js';
import type * as objects from '../operations/objects.js';
import type { InputOf, Operation, OutputOf } from '../operations/operation.js';
import type * as pins from '../operations/pins.js';
import type * as plans from '../operations/plans.js';
import type * as specs from '../operations/specs.js';
import type { Repeatable } from './connection.js';

type All = typeof kinds &
  typeof buckets &
  typeof objects &
  typeof pins &
  typeof plans &
  typeof leases &
  typeof specs &
  typeof history;

/** The operations, by the names that they have as methods. */
export type Operations = {
  readonly [K in keyof All as All[K] extends Operation ? K : never]: All[K] extends Operation
    ? { readonly input: InputOf<All[K]>; readonly output: OutputOf<All[K]> }
    : never;
};

function route(how: Repeatable['how'], method: Repeatable['method'], path: string): Repeatable {
  return { how, method, path };
}

const OBJECT = '/kinds/{kind}/objects/{name}';
const BUCKET = '/kinds/{kind}/buckets/{bucket}';
const LEASE = '/kinds/{kind}/leases/{bucket}';

export const ROUTES: Readonly<Record<keyof Operations, Repeatable>> = {
  listKinds: route('read', 'GET', '/kinds'),
  createKind: route('write', 'POST', '/kinds'),
  showKind: route('read', 'GET', '/kinds/{kind}'),
  setKind: route('write', 'PATCH', '/kinds/{kind}'),
  removeKind: route('write', 'DELETE', '/kinds/{kind}'),
  listBuckets: route('read', 'GET', '/kinds/{kind}/buckets'),
  showBucket: route('read', 'GET', BUCKET),
  addBucket: route('write', 'POST', '/kinds/{kind}/buckets'),
  setBucket: route('write', 'PATCH', BUCKET),
  cordonBucket: route('write', 'POST', `${BUCKET}/cordon`),
  uncordonBucket: route('write', 'POST', `${BUCKET}/uncordon`),
  drainBucket: route('write', 'POST', `${BUCKET}/drain`),
  removeBucket: route('write', 'DELETE', BUCKET),
  listObjects: route('read', 'GET', '/kinds/{kind}/objects'),
  findEverywhere: route('read', 'GET', '/objects/{name}'),
  findObject: route('read', 'GET', OBJECT),
  assignObject: route('put', 'PUT', OBJECT),
  moveObject: route('write', 'POST', `${OBJECT}/move`),
  renameObject: route('write', 'POST', `${OBJECT}/rename`),
  mergeObjects: route('write', 'POST', `${OBJECT}/merge`),
  pinObject: route('write', 'POST', `${OBJECT}/pin`),
  unpinObject: route('write', 'POST', `${OBJECT}/unpin`),
  removeObject: route('write', 'DELETE', OBJECT),
  showHistory: route('read', 'GET', `${OBJECT}/history`),
  explainObject: route('read', 'GET', `${OBJECT}/explain`),
  createPlan: route('once', 'POST', '/kinds/{kind}/plans'),
  listPlans: route('read', 'GET', '/plans'),
  showPlan: route('read', 'GET', '/plans/{plan}'),
  listMoves: route('read', 'GET', '/plans/{plan}/moves'),
  applyPlan: route('write', 'POST', '/plans/{plan}/apply'),
  pausePlan: route('write', 'POST', '/plans/{plan}/pause'),
  resumePlan: route('write', 'POST', '/plans/{plan}/resume'),
  cancelPlan: route('write', 'POST', '/plans/{plan}/cancel'),
  undoPlan: route('once', 'POST', '/plans/{plan}/undo'),
  listLeases: route('read', 'GET', '/kinds/{kind}/leases'),
  claimLease: route('put', 'PUT', LEASE),
  releaseLease: route('write', 'DELETE', LEASE),
  drainLease: route('write', 'POST', `${LEASE}/drain`),
  listOwned: route('read', 'GET', `${LEASE}/objects`),
  acknowledge: route('put', 'PUT', `${LEASE}/acks`),
  setSpec: route('put', 'PUT', `${OBJECT}/spec`),
  setSpecs: route('put', 'PUT', '/kinds/{kind}/specs'),
  showSpec: route('read', 'GET', `${OBJECT}/spec`),
  listSpecs: route('read', 'GET', '/kinds/{kind}/specs'),
  removeSpec: route('write', 'DELETE', `${OBJECT}/spec`),
  listHistory: route('read', 'GET', '/changes'),
  pruneHistory: route('once', 'POST', '/changes/prune'),
};
