// The one error that Sharder throws on purpose. It knows nothing of HTTP: http/errors.ts has the
// table from code to status.

export type ErrorCode =
  | 'settings' // a setting is wrong; the message names its key
  | 'schema' // the database's schema is older or newer than this version, or not ours
  | 'bad_request' // a request that cannot be understood
  | 'bad_name' // a kind, bucket or object cannot be called that
  | 'no_identity' // the request names no user
  | 'bad_identity' // the request names a user in a way that is refused
  | 'bad_key' // the request has not the one key that its kind goes by
  | 'wrong_host' // the request is for a host that is not this service's
  | 'untrusted_peer' // the request comes from somebody who may not name a user
  | 'api_closed' // no token is configured for the management API
  | 'no_token' // the management API was asked without a token
  | 'wrong_token'
  | 'read_only' // the scope of the token does not allow this
  | 'other_kind' // the token is limited to other kinds
  | 'no_commands' // this server runs no imports, exports and checks
  | 'unknown_route'
  | 'wrong_method'
  | 'unknown_kind'
  | 'unknown_bucket'
  | 'unknown_object'
  | 'unknown_plan'
  | 'not_empty' // a bucket that holds objects is not removed
  | 'plan_state' // a plan cannot be applied, paused, resumed, cancelled or undone as it is now
  | 'lease_held' // somebody else has the bucket's lease
  | 'declared' // a lease would change what a person has set of its bucket
  | 'lease_lost' // the lease that was to be renewed has ended, or is another's
  | 'closed' // the bucket takes no new objects: it is cordoned, draining or full
  | 'changed' // somebody has changed the kind since its version was read
  | 'key_reused' // another request had the same Idempotency-Key
  | 'too_large' // a body, or a line of one
  | 'forgotten' // the history no longer goes back so far
  | 'exists' // what was to be added is there already
  | 'collision' // two objects would come to have the same name
  | 'no_url' // a redirect was asked for, and the bucket has no URL
  | 'no_room' // no active bucket has room for a new object
  | 'unreachable' // to the command line: the service of --url does not answer
  | 'overloaded' // the queue is full
  | 'database_busy' // another writer did not let go in time
  | 'database_full' // no space left for the database
  | 'database_unavailable'; // cannot be reached, or is starting, stopping or read-only

/** An expected failure: a `code` to decide on, a message for the person who has to act on it. */
export class SharderError extends Error {
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'SharderError';
    this.code = code;
  }
}
