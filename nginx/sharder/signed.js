// For nginx's own JavaScript (njs): believes a cookie that a Sharder has signed for this kind and
// user: hub=hub-0.<expiry>.<signature>. It is begun anew for every request, and njs' patterns are
// slow: hence no regular expressions. Nor does it know `for … of` and `replaceAll`.

import crypto from 'crypto';

// The same as the Sharder's, separated by commas or white space: the first signs, all of them verify.
const secrets = (process.env.SHARDER_COOKIE_SECRET || '')
  .split(' ')
  .join(',')
  .split('\n')
  .join(',')
  .split(',');

// The bucket that the cookie proves, or nothing.
function bucket(r) {
  const kind = r.variables.sharder_kind;
  const user = r.variables.sharder_user;
  const value = onlyCookie(r.headersIn.Cookie, kind + '=');
  return (value && user && verify(kind, user, value)) || '';
}

// The cookie's value; nothing where it came twice, for then nobody knows which one is meant.
function onlyCookie(header, start) {
  if (!header) return undefined;
  let value;
  const pairs = header.split(';');
  for (let i = 0; i < pairs.length; i++) {
    const cookie = pairs[i].trim();
    if (!cookie.startsWith(start)) continue;
    if (value !== undefined) return undefined;
    value = cookie.slice(start.length);
  }
  return value;
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
    if (secrets[i] === '') continue;
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
