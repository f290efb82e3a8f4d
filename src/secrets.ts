// Secrets: from the environment, or from a file that it names; never from sharder.yml or a flag.

import { readFileSync } from 'node:fs';
import { SharderError } from './errors.js';
import { noLogKey } from './log-names.js';
import { KIND_PATTERN } from './names.js';
import { SCOPES, type Scope } from './scopes.js';

const MIN_SECRET_LENGTH = 32;

/** One of the tokens that open the management API. */
export interface AdminToken {
  /** The actor in the history. */
  readonly name: string;
  readonly scope: Scope;
  /** The kinds that it is limited to; undefined: all. */
  readonly kinds?: readonly string[] | undefined;
  readonly token: string;
}

/** NAME from the environment, or the file that NAME_FILE points to. Throws `settings`. */
export function secret(env: NodeJS.ProcessEnv, name: string): string | undefined {
  const path = env[`${name}_FILE`];
  if (env[name] !== undefined && path !== undefined) {
    throw new SharderError('settings', `${name}: is set, and ${name}_FILE too; unset one of them`);
  }
  const value = path === undefined ? env[name] : readSecretFile(`${name}_FILE`, path);
  if (value?.trim() === '') {
    throw new SharderError('settings', `${path === undefined ? name : `${name}_FILE`}: is empty`);
  }
  return value;
}

function readSecretFile(name: string, path: string): string {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new SharderError('settings', `${name}: cannot be read: ${(error as Error).message}`);
  }
}

/**
 * The secrets of a list, in order: separated by commas or ASCII white space, empty entries dropped.
 * Each has at least 32 visible ASCII characters, and there is at least one. Python and njs read the
 * same lists by the same rule: test/secret-lists.json. Throws `settings`.
 */
export function parseSecretList(name: string, text: string): string[] {
  const secrets = splitList(text);
  const wrong = secrets.findIndex((each) => !SECRET.test(each));
  if (secrets.length > 0 && wrong < 0) return secrets;
  const why =
    wrong < 0
      ? 'has no secret in it'
      : `number ${wrong + 1} must have at least ${MIN_SECRET_LENGTH} characters, all of them visible ASCII (commas and spaces separate)`;
  throw new SharderError('settings', `${name}: ${why}; make one with: openssl rand -hex 32`);
}

function splitList(text: string): string[] {
  return text.split(/[,\t\n\v\f\r ]+/).filter(Boolean);
}

const SECRET = new RegExp(`^[!-~]{${MIN_SECRET_LENGTH},}$`);

/**
 * A list of secrets from the environment: the first is the one in use, the others are still accepted.
 * Empty where the variable is not set. Throws `settings`.
 */
export function readSecretList(
  env: NodeJS.ProcessEnv,
  name: 'SHARDER_COOKIE_SECRET' | 'SHARDER_LOGIN_SECRET' | 'SHARDER_PROXY_SECRET',
): string[] {
  const text = secret(env, name);
  return text === undefined ? [] : parseSecretList(name, text);
}

/** The key of the hashes that lines of the log name users by. Throws `settings`. */
export function readLogKey(env: NodeJS.ProcessEnv): string | undefined {
  const key = secret(env, 'SHARDER_LOG_KEY')?.trim();
  if (key !== undefined && key.length < MIN_SECRET_LENGTH) {
    throw noLogKey(`has fewer than ${MIN_SECRET_LENGTH} characters`);
  }
  return key;
}

// Padding at the end of a token is no name.
const NAMED_TOKEN = /^([^=]*)=(?!=*$)([\x21-\x7e]+)$/;
const TOKEN_HEAD = /^([A-Za-z0-9][A-Za-z0-9._-]{0,62})(?::([a-z]+))?(?:@(.+))?$/;

// What stands before the `=`: NAME, NAME:SCOPE, NAME@KIND+KIND or NAME:SCOPE@KIND+KIND.
function parseHead(text: string): Omit<AdminToken, 'token'> | undefined {
  const [, name, scope = 'write', list] = TOKEN_HEAD.exec(text) ?? [];
  const kinds = list?.split('+');
  if (name === undefined || !(SCOPES as readonly string[]).includes(scope)) return undefined;
  if (kinds && !kinds.every((kind) => KIND_PATTERN.test(kind))) return undefined;
  return { name, scope: scope as Scope, ...(kinds && { kinds }) };
}

/**
 * A token; or several, each with a name, what it may do, and the kinds that it is limited to: `ops=…`,
 * `dashboard:read=…`, `workers:lease@queue+rooms=…`. Throws `settings`.
 */
export function readAdminTokens(env: NodeJS.ProcessEnv): AdminToken[] {
  const given = splitList(secret(env, 'SHARDER_ADMIN_TOKEN') ?? '');
  if (given.length === 0 && env.SHARDER_ADMIN_TOKEN !== undefined) {
    throw new SharderError('settings', 'SHARDER_ADMIN_TOKEN: has no token in it');
  }
  const tokens = given.map((text, i): AdminToken => {
    const [, before, value = text] = NAMED_TOKEN.exec(text) ?? [];
    const head = before === undefined ? parseHead('admin') : parseHead(before);
    if (!head) {
      throw new SharderError(
        'settings',
        `SHARDER_ADMIN_TOKEN: number ${i + 1} does not begin with NAME=, NAME:SCOPE= or NAME:SCOPE@KIND+KIND=; scopes are ${SCOPES.join(', ')}`,
      );
    }
    const token = /^[\x21-\x7e]+$/.test(value) ? value : '';
    if (token.length < MIN_SECRET_LENGTH) {
      throw new SharderError(
        'settings',
        `SHARDER_ADMIN_TOKEN: number ${i + 1} must have at least ${MIN_SECRET_LENGTH} visible ASCII characters; make one with: openssl rand -hex 32`,
      );
    }
    return { ...head, token };
  });
  const twice = tokens.find(({ name }, i) => tokens.findIndex((each) => each.name === name) !== i);
  if (twice) {
    throw new SharderError(
      'settings',
      `SHARDER_ADMIN_TOKEN: two tokens are called ${twice.name}: write NAME=TOKEN, or NAME:read=TOKEN, for each`,
    );
  }
  return tokens;
}
