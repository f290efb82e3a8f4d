"""Logs users in to JupyterHub with the proof that the edge sends.

The edge knows who the user is, and the Sharder vouches for it: on the hub's login path the edge passes
on the header X-Shard-Login, a JWT that holds for a minute, for one user and for this hub alone. A header
like REMOTE_USER proves nothing to a hub, because notebooks run their users' programs and reach the hub's
port too. Cookies prove nothing either, because notebooks see them.

Set in the hub's environment:

    SHARDER_LOGIN_KEY     what `sharder bucket login-key hub-0` prints; or SHARDER_LOGIN_KEY_FILE, a file
                          with it. During a change of keys, several, separated by commas.
    SHARDER_BUCKET        hub-0

It needs JupyterHub 3 or later, and otherwise only Python's standard library.
"""

import base64
import hmac
import json
import os
import re
import time

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from tornado import web
from traitlets import Bool, Unicode

PROOF_HEADER = "X-Shard-Login"

# The header of every proof: {"alg":"HS256","typ":"JWT"}. No other algorithm is accepted.
_HEADER = base64.urlsafe_b64encode(b'{"alg":"HS256","typ":"JWT"}').rstrip(b"=").decode()
_PROOF = re.compile(re.escape(_HEADER) + r"\.([A-Za-z0-9_-]{1,4096})\.([A-Za-z0-9_-]{43})")
# In seconds. Clocks may differ by so much, and no proof holds for longer than a minute.
_LEEWAY = 5
_LIFETIME = 60


def parse_secret_list(name, text):
    """The secrets of a list, by the Sharder's rule: separated by commas or ASCII white space, empty
    entries dropped, each of at least 32 visible ASCII characters, and at least one. Raises ValueError.
    """
    secrets = [each for each in re.split(r"[, \t\n\v\f\r]+", text) if each]
    for number, secret in enumerate(secrets, 1):
        if not re.fullmatch(r"[!-~]{32,}", secret):
            raise ValueError(
                f"{name}: number {number} must have at least 32 characters, all of them visible ASCII"
            )
    if not secrets:
        raise ValueError(f"{name}: has no secret in it")
    return secrets


def read_secret_list(environ, name):
    """The list in NAME, or in the file that NAME_FILE names; empty where neither is set. Raises ValueError."""
    path = environ.get(f"{name}_FILE")
    if path is None:
        return parse_secret_list(name, environ[name]) if name in environ else []
    if name in environ:
        raise ValueError(f"{name} and {name}_FILE are both set; unset one of them")
    try:
        with open(path, encoding="utf-8") as file:
            return parse_secret_list(f"{name}_FILE", file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{name}_FILE: cannot be read: {error}") from error


def verify_proof(keys, audience, proof, now):
    """The user whom a proof vouches for. Raises ValueError with the reason where it proves nothing to
    this audience at this time, in seconds since 1970.
    """
    match = _PROOF.fullmatch(proof)
    if match is None:
        raise ValueError("it is no JWT with HS256")
    signed = proof.rpartition(".")[0].encode("ascii")
    given = match.group(2).encode("ascii")
    rights = [
        base64.urlsafe_b64encode(hmac.digest(key.encode("ascii"), signed, "sha256")).rstrip(b"=")
        for key in keys
    ]
    # All keys are compared, whichever fits.
    if not any([hmac.compare_digest(right, given) for right in rights]):
        raise ValueError("it is not signed with a key of this hub")
    payload = match.group(1)
    claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    if type(claims) is not dict:
        raise ValueError("it has no claims")
    user, issued, expiry = claims.get("sub"), claims.get("iat"), claims.get("exp")
    if claims.get("aud") != audience:
        raise ValueError(f"it is for {claims.get('aud')!r}, and this is {audience!r}")
    if type(user) is not str or type(issued) is not int or type(expiry) is not int:
        raise ValueError("it lacks a claim")
    if expiry - issued > _LIFETIME:
        raise ValueError("it holds for too long")
    if not issued - _LEEWAY <= now < expiry + _LEEWAY:
        raise ValueError("it has expired, or the clocks of the hub and the Sharder differ")
    return user


class RemoteUserLoginHandler(BaseHandler):
    """Replaces JupyterHub's login page: there is nothing to ask."""

    async def get(self):
        before = self.get_current_user_cookie()
        user = await self.login_user()
        if user is None:
            raise web.HTTPError(403, "You may not log in to this hub.")
        if before is not None and before.id != user.id:
            # JupyterHub keeps an existing cookie, even another user's.
            self.clear_login_cookie()
            self.set_session_cookie()
            self.set_hub_cookie(user)
        self.redirect(self.get_next_url(user))


class RemoteUserAuthenticator(Authenticator):
    """Believes the login proof of a Sharder's edge.

    The hub's own cookie outlives a login at the edge. So each request that comes with it is compared with
    the user whom the edge names: when somebody else has logged in since, in the same browser, the hub logs
    out the user before. (A notebook server that is open has a cookie of its own and does not notice.)
    """

    user_header = Unicode("REMOTE_USER", config=True, help="The header in which the edge names the user.")
    kind = Unicode("hub", config=True, help="The kind of this hub's bucket.")
    bucket = Unicode(config=True, help="This hub's bucket. Default: SHARDER_BUCKET.")
    trust_header = Bool(
        False,
        config=True,
        help="""Believe user_header without a proof. Only where no user's program can reach the hub: with
        notebooks on the same network, any of them can log in as anybody.""",
    )

    auto_login = True
    auth_refresh_age = -1  # at every request; 0 would be never

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.bucket = self.bucket or os.environ.get("SHARDER_BUCKET", "")
        self._keys = read_secret_list(os.environ, "SHARDER_LOGIN_KEY")
        # What the edge calls a user may differ from the user's name here: the Sharder may shorten it.
        self._users = {}
        if self.trust_header and self._keys:
            raise ValueError("trust_header and SHARDER_LOGIN_KEY are both set; unset one of them")
        if self.trust_header:
            self.log.warning("Any program that reaches this hub can log in as anybody: trust_header is set.")
        elif not self._keys:
            raise ValueError(
                "SHARDER_LOGIN_KEY: set it to what `sharder bucket login-key` prints for this hub; "
                "without it, only trust_header = True lets anybody in"
            )
        elif not self.bucket:
            raise ValueError("SHARDER_BUCKET: set it to the name of this hub's bucket, such as hub-0")

    def get_handlers(self, app):
        return [("/login", RemoteUserLoginHandler)]

    async def authenticate(self, handler, data=None):
        named = self.named(handler)
        name = named if self.trust_header else self.proven(handler)
        if not name:
            raise web.HTTPError(403, "The edge named nobody: this hub is reached through it alone.")
        # Else two users of the Sharder would be one here.
        if self.normalize_username(name) != name:
            raise web.HTTPError(
                403, "The hub writes your name another way than the edge: set `normalize: lower` for the kind."
            )
        if name in (".", ".."):
            raise web.HTTPError(403, "That name would be a directory.")
        if named is not None:
            self._users[named] = name
        return name

    async def refresh_user(self, user, handler=None):
        if handler is None:
            return True
        # A notebook server, or a script, with a token of this user. Any other token proves nothing.
        token = handler.get_token()
        if token is not None and token.user is not None and token.user.name == user.name:
            return True
        name = self.named(handler)
        if name is None:
            return False
        return user.name in (self._users.get(name), self.normalize_username(name))

    def named(self, handler):
        """The user whom the edge names in the header, or None."""
        names = handler.request.headers.get_list(self.user_header)
        try:
            (name,) = names
            return name.encode("latin-1").decode("utf-8")  # Tornado reads Latin-1
        except ValueError:
            return None  # none, several, or no UTF-8

    def proven(self, handler):
        """The user whom the proof vouches for, or None."""
        proofs = handler.request.headers.get_list(PROOF_HEADER)
        try:
            (proof,) = proofs
        except ValueError:
            self.log.warning("A login without one %s: it did not come by the edge's login path.", PROOF_HEADER)
            return None
        try:
            return verify_proof(self._keys, f"{self.kind}/{self.bucket}", proof, time.time())
        except ValueError as error:
            self.log.warning("A login with a wrong %s: %s.", PROOF_HEADER, error)
            return None
