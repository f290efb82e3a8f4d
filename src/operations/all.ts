// All operations, in the order in which people read about them.

import * as buckets from './buckets.js';
import * as history from './history.js';
import * as leases from './leases.js';
import * as kinds from './kinds.js';
import * as objects from './objects.js';
import type { Operation } from './operation.js';
import * as pins from './pins.js';
import * as plans from './plans.js';
import * as specs from './specs.js';

export const OPERATIONS: readonly Operation[] = [
  kinds.listKinds,
  kinds.createKind,
  kinds.showKind,
  kinds.setKind,
  kinds.removeKind,
  buckets.listBuckets,
  buckets.showBucket,
  buckets.addBucket,
  buckets.setBucket,
  buckets.cordonBucket,
  buckets.uncordonBucket,
  buckets.drainBucket,
  buckets.removeBucket,
  objects.listObjects,
  objects.findEverywhere,
  objects.findObject,
  objects.assignObject,
  objects.moveObject,
  objects.renameObject,
  objects.mergeObjects,
  pins.pinObject,
  pins.unpinObject,
  objects.removeObject,
  objects.showHistory,
  objects.explainObject,
  plans.createPlan,
  plans.listPlans,
  plans.showPlan,
  plans.listMoves,
  plans.applyPlan,
  plans.pausePlan,
  plans.resumePlan,
  plans.cancelPlan,
  plans.undoPlan,
  leases.listLeases,
  leases.claimLease,
  specs.setSpec,
  specs.setSpecs,
  specs.showSpec,
  specs.listSpecs,
  specs.listOwned,
  specs.acknowledge,
  specs.removeSpec,
  leases.drainLease,
  leases.releaseLease,
  history.listHistory,
  history.pruneHistory,
];
