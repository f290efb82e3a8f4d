// For nginx's own JavaScript (njs): believes a cookie that a Sharder has signed for this kind and
// user: hub=hub-0.<expiry>.<signature>. It is loaded again for every request, and njs' patterns are
// slow: hence no regular expressions. It has no `for … of` and no `replaceAll` either.

import crypto from 'crypto';
import fs from 'fs';

// The first signs, all verify.
const secrets = readSecrets();

// The Sharder's own rule (test/secret-lists.json): separated by commas or ASCII white space, empty
// entries dropped, each of at least 32 visible ASCII characters. A wrong list throws: then no cookie is
// believed, every request asks, and nginx's error log says why.
function readSecrets() {
  const name = 'SHARDER_COOKIE_SECRET';
  const path = process.env[name + '_FILE'];
  if (path !== undefined && process.env[name] !== undefined) {
    throw new Error(name + ' and ' + name + '_FILE are both set; unset one of them');
  }
  const text = path === undefined ? process.env[name] || '' : fs.readFileSync(path, 'utf8');
  const list = [];
  let start = 0;
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : 32;
    if (code === 44 || code === 32 || (code >= 9 && code <= 13)) {
      if (i > start) list.push(text.slice(start, i));
      start = i + 1;
    } else if (code < 33 || code > 126) {
      throw new Error(name + ': must be visible ASCII');
    }
  }
  if (list.length === 0) throw new Error(name + ': has no secret in it');
  for (let i = 0; i < list.length; i++) {
    if (list[i].length < 32) {
      throw new Error(name + ': number ' + (i + 1) + ' has fewer than 32 characters');
    }
  }
  return list;
}

// The bucket that a cookie proves, or nothing.
function bucket(r) {
  const kind = r.variables.sharder_kind;
  const user = r.variables.sharder_user;
  const header = r.headersIn.Cookie;
  if (!user || !header) return '';
  const pairs = header.split(';');
  for (let i = 0; i < pairs.length; i++) {
    const value = valueOf(pairs[i].trim(), kind);
    const proven = value && verify(kind, user, value);
    if (proven) return proven;
  }
  return '';
}

// Another host of the same site can add a cookie of the same name, so every one of them is tried.
function valueOf(pair, kind) {
  const prefixed = '__Host-' + kind + '=';
  if (pair.startsWith(prefixed)) return pair.slice(prefixed.length);
  return pair.startsWith(kind + '=') ? pair.slice(kind.length + 1) : undefined;
}

function verify(kind, user, value) {
  const last = value.lastIndexOf('.');
  const first = value.lastIndexOf('.', last - 1);
  if (first < 1 || value.length - last !== 44) return undefined;
  const expiry = value.slice(first + 1, last);
  const seconds = Number(expiry);
  if (!(seconds > Date.now() / 1000) || String(seconds) !== expiry) return undefined;
  const name = value.slice(0, first);
  const signed = kind + '\n' + user + '\n' + name + '\n' + expiry;
  const given = value.slice(last + 1);
  let isGenuine = false;
  for (let i = 0; i < secrets.length; i++) {
    const right = crypto.createHmac('sha256', secrets[i]).update(signed).digest('base64url');
    isGenuine = isEqual(right, given) || isGenuine;
  }
  return isGenuine ? name : undefined;
}

// Takes as long wherever they differ.
function isEqual(a, b) {
  const left = Buffer.from(a);
  const right = Buffer.from(b);
  if (left.length !== right.length) return false;
  let difference = 0;
  for (let i = 0; i < left.length; i++) difference |= left[i] ^ right[i];
  return difference === 0;
}

export default { bucket };
