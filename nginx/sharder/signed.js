// For nginx's own JavaScript (njs): believes a cookie that a Sharder has signed for this kind and
// user: hub=hub-0.<expiry>.<signature>.

import crypto from 'crypto';

// The same as the Sharder's: the first signs, all of them verify.
const secrets = (process.env.SHARDER_COOKIE_SECRET || '').split(/[\s,]+/).filter((s) => s !== '');

// The bucket that the cookie proves, or nothing.
function bucket(r) {
  const kind = r.variables.sharder_kind;
  const user = r.variables.sharder_user;
  const value = onlyCookie(r.headersIn.Cookie, kind);
  return (value && user && verify(kind, user, value, Date.now() / 1000)) || '';
}

// The cookie's value; nothing where it came twice, for then nobody knows which one is meant.
function onlyCookie(header, name) {
  const values = (header || '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(name + '='))
    .map((pair) => pair.slice(name.length + 1));
  return values.length === 1 ? values[0] : undefined;
}

function verify(kind, user, value, now) {
  const match = /^(.+)\.([1-9][0-9]{0,11})\.([A-Za-z0-9_-]{43})$/.exec(value);
  if (!match || Number(match[2]) <= now) return undefined;
  const signed = kind + '\n' + user + '\n' + match[1] + '\n' + match[2];
  const isGenuine = secrets.some((secret) =>
    isEqual(crypto.createHmac('sha256', secret).update(signed).digest('base64url'), match[3]),
  );
  return isGenuine ? match[1] : undefined;
}

// Takes as long wherever they differ.
function isEqual(a, b) {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

export default { bucket };
