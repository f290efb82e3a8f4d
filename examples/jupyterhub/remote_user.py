"""Logs in to JupyterHub whoever the edge names in a header.

A header alone proves nothing to a hub: notebooks, which are their users' programs, reach the hub's port
too, and could name anybody. So, where the hub has the Sharders' SHARDER_COOKIE_SECRET, the signed cookie
must say the same: of all cookies, a user and their notebooks see only their own.
"""

import base64
import hmac
import os
import re
import time

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from tornado import web
from traitlets import Unicode


class RemoteUserLoginHandler(BaseHandler):
    """In the place of JupyterHub's login page: there is nothing to ask."""

    async def get(self):
        if not self.authenticator.is_proven(self) and not self.get_argument("again", ""):
            # The edge sets the cookie with this answer.
            self.redirect(self.request.uri + ("&" if "?" in self.request.uri else "?") + "again=1")
            return
        before = self.get_current_user_cookie()
        user = await self.login_user()
        if user is None:
            raise web.HTTPError(403, "The edge named nobody, or nobody who may log in.")
        if before is not None and before.id != user.id:
            # JupyterHub keeps a cookie that is there, whoever's it is.
            self.clear_login_cookie()
            self.set_session_cookie()
            self.set_hub_cookie(user)
        self.redirect(self.get_next_url(user))


class RemoteUserAuthenticator(Authenticator):
    """The hub's cookies outlive a login at the edge. Each request to the hub is therefore compared with
    the header: where somebody else has logged in since, in the same browser, the hub logs out who was
    there before. (A notebook server that is open has a cookie of its own, and does not notice.)
    """

    user_header = Unicode("REMOTE_USER", config=True, help="In which the edge names the user.")
    kind = Unicode("hub", config=True, help="The Sharder's kind, which is its cookie's name.")

    auto_login = True
    auth_refresh_age = -1  # at every request; 0 would be never

    def get_handlers(self, app):
        return [("/login", RemoteUserLoginHandler)]

    async def authenticate(self, handler, data=None):
        return self.named(handler) if self.is_proven(handler) else None

    async def refresh_user(self, user, handler=None):
        if handler is None or handler.get_auth_token():
            return True  # not a browser: a notebook server, with its token
        name = await self.authenticate(handler)
        return name is not None and self.normalize_username(name) == user.name

    def named(self, handler):
        names = handler.request.headers.get_list(self.user_header)
        try:
            (name,) = names
            return name.encode("latin-1").decode("utf-8")  # Tornado reads Latin-1
        except ValueError:
            return None  # none, several, or no UTF-8

    def is_proven(self, handler):
        """Whether the cookie, which is bucket.expiry.signature, is of the user whom the header names."""
        secrets = re.split(r"[\s,]+", os.environ.get("SHARDER_COOKIE_SECRET", "").strip())
        if secrets == [""]:
            return True
        bucket, expiry, given = (["", "", ""] + handler.get_cookie(self.kind, "").rsplit(".", 2))[-3:]
        if not expiry.isdigit() or int(expiry) <= time.time():
            return False
        text = "\n".join([self.kind, self.named(handler) or "", bucket, expiry]).encode("utf-8")
        signatures = [hmac.digest(secret.encode("utf-8"), text, "sha256") for secret in secrets]
        return any(
            hmac.compare_digest(base64.urlsafe_b64encode(right).rstrip(b"=").decode(), given)
            for right in signatures
        )
