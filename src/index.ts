// What the package exports. Importing it starts nothing.

export { Sharder, type SharderOptions } from './sharder.js';
export type { Answer, Bucket, Reason } from './assign/answer.js';
export { Database, openDatabase } from './store/database.js';
export { declareKinds, type KindDeclaration } from './store/kinds.js';
export { createServer, type ServerOptions } from './http/server.js';
export { PlanRunner, type RunnerEvents } from './rebalance/runner.js';
export {
  Callbacks,
  type CallbackEvents,
  type CallbackOptions,
  type WorkerAddress,
} from './workers/callbacks.js';
export { Controller, type ControllerEvents } from './workers/controller.js';
export { SharderError, type ErrorCode } from './errors.js';
