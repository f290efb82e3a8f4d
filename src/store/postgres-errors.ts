// What PostgreSQL's errors mean here, by their SQLSTATE (PostgreSQL, appendix A: error codes).

import knex from 'knex';
import type pg from 'pg';
import { SharderError } from '../errors.js';

/** The error as a SharderError when it is one of the database's troubles; itself otherwise. */
export function explainPostgresError(error: unknown): unknown {
  if (isTrouble(error)) return unavailable(error);
  if (!isServerError(error)) return error;
  const { code = '' } = error;
  if (code.startsWith('53')) {
    return new SharderError(
      'database_full',
      'the database server has run out of disk or memory: make room, nothing was stored or lost',
      { cause: error },
    );
  }
  if (BUSY.has(code) || isConflict(error)) return busy(error);
  return error;
}

/**
 * The error of opening a database, as a SharderError: where the server is there and knows no such
 * database or user, that is a mistake in the settings, and will not pass.
 */
export function explainOpenError(error: unknown): unknown {
  // 42501 is insufficient_privilege.
  if (isServerError(error) && /^(3D|28|42501)/.test(error.code ?? '')) {
    return new SharderError('settings', `database: ${error.message}`, { cause: error });
  }
  return explainPostgresError(error);
}

/** The error for a database that cannot be reached, and why. */
export function unavailable(cause?: unknown): SharderError {
  return new SharderError('database_unavailable', 'the database cannot be reached; try again', {
    cause,
  });
}

/** The error for a lock that did not become free in time, and why. */
export function busy(cause?: unknown): SharderError {
  return new SharderError(
    'database_busy',
    'the database is busy: another transaction has held a lock for seconds; try again',
    { cause },
  );
}

const BUSY = new Set([
  '55P03', // lock_not_available
  '57014', // query_canceled, by statement_timeout
]);
const CONFLICT = new Set([
  '40001', // serialization_failure
  '40P01', // deadlock_detected
]);
// The server does not want this connection, or none at the moment; others may be served.
const REFUSED = new Set([
  '25006', // read_only_sql_transaction: a standby, or a failover under way
  '53300', // too_many_connections
]);
const BROKEN = new Set([
  '25P03', // idle_in_transaction_session_timeout: this process was stopped for a while
  '57P01', // admin_shutdown
  '57P02', // crash_shutdown
  '57P03', // cannot_connect_now
  '57P05', // idle_session_timeout
]);
const NETWORK = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'],
  ...['ENOTFOUND', 'EAI_AGAIN', 'EADDRNOTAVAIL'],
]);

/** True for an error that the same transaction, begun again, will not meet. */
export function isConflict(error: unknown): boolean {
  return isServerError(error) && CONFLICT.has(error.code ?? '');
}

/** True where somebody who does not take the kind's lock inserted one of the names meanwhile. */
export function isUniqueViolation(error: unknown): boolean {
  return isServerError(error) && error.code === '23505';
}

/** True for an error that says: this connection is not to be used again. */
export function isTrouble(error: unknown): boolean {
  if (error instanceof knex.KnexTimeoutError) return true;
  return isBroken(error) || (isServerError(error) && REFUSED.has(error.code ?? ''));
}

/** True where a connection broke, fell silent or could not be opened: the database may be down. */
export function isBroken(error: unknown): boolean {
  if (!isServerError(error)) return isConnectionError(error);
  return BROKEN.has(error.code ?? '') || (error.code ?? '').startsWith('08');
}

/** True for what the server said; it has a SQLSTATE. */
export function isServerError(error: unknown): error is pg.DatabaseError {
  // Told by what it has: the driver is not loaded where there is SQLite alone.
  return error instanceof Error && 'severity' in error && 'code' in error;
}

// What Node's sockets throw has a code. What the driver throws is a plain Error without one; a
// mistake of ours would be a TypeError or the like.
function isConnectionError(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isConnectionError);
  if (!(error instanceof Error) || error.name !== 'Error') return false;
  const { code, syscall } = error as NodeJS.ErrnoException;
  return code === undefined || NETWORK.has(code) || syscall === 'connect';
}
