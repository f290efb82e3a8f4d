// The headers by which proxies tell of the client's connection. From a client they could say anything.

import type { IncomingMessage } from 'node:http';

/** Listed one by one for nginx, which removes a header only by its full name. */
const FORWARDED = [
  ...['For', 'By', 'Host', 'Proto', 'Port', 'Prefix', 'Server', 'Scheme', 'Ssl', 'Path', 'Uri'],
  ...['User', 'Email', 'Groups', 'Preferred-Username', 'Access-Token', 'Client-Cert', 'Protocol'],
].map((what) => `X-Forwarded-${what}`);

/** All that may name a client, its connection or its login, with a hyphen between the words. */
export const PROXY_HEADERS = [...FORWARDED, 'Forwarded', 'X-Real-IP', 'X-Original-Host'] as const;

// CGI, WSGI and the servers made for them see `_` and `-` as the same.
const PROXY_HEADER = /^(?:forwarded|x[-_](?:forwarded[-_].*|real[-_]ip|original[-_]host))$/;

/** The ways to write the name of a header with `_` in the place of some `-`, but the one without. */
export function aliasesOf(header: string): string[] {
  const [first = '', ...words] = header.split('-');
  return words
    .reduce((all, word) => all.flatMap((each) => [`${each}-${word}`, `${each}_${word}`]), [first])
    .slice(1);
}

/**
 * Has a request say from whom it is, as nginx does it with $proxy_add_x_forwarded_for. What a proxy that is
 * trusted has said stays; what anybody else has said is taken out.
 */
export function setForwardedHeaders(
  { headers, socket }: IncomingMessage,
  isTrusted: boolean,
): void {
  const peer = socket.remoteAddress ?? '';
  if (!isTrusted) {
    for (const header of Object.keys(headers)) {
      if (PROXY_HEADER.test(header)) Reflect.deleteProperty(headers, header);
    }
  }
  const before = headers['x-forwarded-for'];
  headers['x-forwarded-for'] = before === undefined ? peer : `${String(before)}, ${peer}`;
  headers['x-forwarded-proto'] ??= 'http';
  if (headers.host !== undefined) headers['x-forwarded-host'] ??= headers.host;
}
