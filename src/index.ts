// What the package exports. Importing it starts nothing. A test sees to it that every type that is mentioned is
// here too.

export { Sharder, type SharderEvents, type SharderOptions } from './sharder.js';
export type { Answer, Bucket, Reason } from './assign/answer.js';
export {
  Database,
  openDatabase,
  type OpenOptions,
  type Reader,
  type WritePhase,
} from './store/database.js';
export type { EngineName } from './store/migrate.js';
export type { Bucket as StoredBucket, BucketSettings, BucketState } from './store/buckets.js';
export type { HeldKind, KindChanges, KindSettings, RequestKey } from './store/kind-settings.js';
export type { NameRule } from './names.js';
export type { Normalize } from './normalize.js';
export type { Hash, Policy } from './policies.js';
export { declareKinds, type KindDeclaration } from './store/kinds.js';
export { createServer, type ServerOptions } from './http/server.js';
export type { CookieSettings } from './http/cookie.js';
export type { WatchOptions } from './http/v1/watch.js';
export { createCommands, type Commands } from './http/v1/commands.js';
export { createLogNames, type LogNames, type NamesInLog } from './log-names.js';
export type { AdminToken } from './secrets.js';
export type { Scope } from './scopes.js';
export { PlanRunner, type RunnerEvents } from './rebalance/runner.js';
export type { Outcome, Plan, PlanDetail, StateChange } from './store/plans.js';
export type { PlanState } from './store/plan-state.js';
export type { StateOf } from './store/plans.js';
export {
  Callbacks,
  type CallbackEvents,
  type CallbackOptions,
  type WorkerAddress,
} from './workers/callbacks.js';
export type { Resolve } from './workers/call-target.js';
export { Controller, type ControllerEvents } from './workers/controller.js';
export { SharderError, type ErrorCode } from './errors.js';
