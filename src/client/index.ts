// `sharder/client`: what an application imports. Importing it starts nothing, and needs nothing but Node.

export {
  CallVerifier,
  type CalledLease,
  type CallVerifierOptions,
  type ReceivedCall,
} from './call-verifier.js';
export { SharderClient, type ClientOptions, type Methods } from './client.js';
export type { Operations } from './routes.js';
export type { BucketSettings } from '../store/buckets.js';
export type { Granted } from '../workers/granted.js';
export {
  ShardRegistrar,
  type DatabaseAddress,
  type RegistrarEvents,
  type RegistrarOptions,
  type ServiceAddress,
  type ShardInfo,
} from './registrar.js';
export { ShardServer, type ShardServerEvents, type ShardServerOptions } from './shard-server.js';
export { SharderError, type ErrorCode } from '../errors.js';
