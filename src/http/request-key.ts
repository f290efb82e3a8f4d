// What a kind of the policy `hash` hashes, where it is not the user: a header, a parameter of the query, or
// a cookie. It is taken as it came, percent-encoding and all.

import type { IncomingMessage } from 'node:http';
import { KeyPattern, pathOf } from '../key-pattern.js';
import { SharderError } from '../errors.js';
import type { RequestKey } from '../store/kind-settings.js';
import { createReadHeader } from './header.js';

type Read = (req: IncomingMessage, isAuth: boolean) => string;

/**
 * Makes the function that reads the key out of a request. It throws `bad_key` where there is none, or more
 * than one. `isAuth`: the request is a proxy's, about another one, whose URI is in a header.
 */
export function createReadKey(): (
  req: IncomingMessage,
  key: RequestKey,
  isAuth: boolean,
) => string {
  const reads = new WeakMap<RequestKey, Read>();
  return (req, key, isAuth) => {
    let read = reads.get(key);
    if (!read) reads.set(key, (read = createRead(key)));
    return read(req, isAuth);
  };
}

function createRead({ header, query, cookie, pattern }: RequestKey): Read {
  const keyPattern = pattern === undefined ? undefined : new KeyPattern(pattern);
  const inText = (text: string): string => keyPattern?.groupOf(text) ?? text;
  if (header !== undefined) {
    const read = createReadHeader(header, 'bad_key');
    return (req) => {
      const value = read(req);
      if (value === undefined) {
        throw refused(`no ${header} header came: the proxy in front must set it`);
      }
      if (!URI.test(value)) return inText(value);
      return keyPattern ? keyPattern.keyOf(value) : pathOf(value);
    };
  }
  if (query !== undefined) {
    const readUri = createReadUri();
    return (req, isAuth) => {
      const uri = (isAuth ? readUri(req) : undefined) ?? req.url ?? '';
      const start = uri.indexOf('?');
      const parameters = start === -1 ? [] : uri.slice(start + 1).split('&');
      return inText(onlyOne(parameters, query, 'parameter', 'query'));
    };
  }
  const name = cookie ?? '';
  return (req) => {
    const pairs = (req.headers.cookie ?? '').split(';').map((pair) => pair.trim());
    return inText(onlyOne(pairs, name, 'cookie', 'request'));
  };
}

// A path, or a whole URL.
const URI = /^(\/|https?:\/\/)/i;

// nginx, where it is told to, sends the first; Traefik and Caddy send the second by themselves.
function createReadUri(): (req: IncomingMessage) => string | undefined {
  const readOriginal = createReadHeader('X-Original-URI', 'bad_key');
  const readForwarded = createReadHeader('X-Forwarded-Uri', 'bad_key');
  return (req) => {
    const original = readOriginal(req);
    const forwarded = readForwarded(req);
    if (original !== undefined && forwarded !== undefined && original !== forwarded) {
      throw refused(
        'X-Original-URI and X-Forwarded-Uri came and differ: the proxy in front must set one and remove the other',
      );
    }
    return original ?? forwarded;
  };
}

function onlyOne(pairs: readonly string[], name: string, what: string, where: string): string {
  const begin = `${name}=`;
  const found = pairs.filter((pair) => pair.startsWith(begin));
  const [pair] = found;
  if (pair === undefined) throw refused(`there is no ${what} ${name} in the ${where}`);
  if (found.length > 1) throw refused(`the ${what} ${name} came more than once`);
  if (pair === begin) throw refused(`the ${what} ${name} is empty`);
  return pair.slice(begin.length);
}

function refused(why: string): SharderError {
  return new SharderError('bad_key', why);
}
