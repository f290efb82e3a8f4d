"""Logs in to JupyterHub whoever the edge names in REMOTE_USER."""

from jupyterhub.auth import Authenticator
from jupyterhub.handlers import BaseHandler
from tornado import web


class RemoteUserLoginHandler(BaseHandler):
    """In the place of JupyterHub's login page: there is nothing to ask."""

    async def get(self):
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
    """Believes the header REMOTE_USER, so nobody but the edge may reach the hub.

    Its cookies outlive a login at the edge. Each request is therefore compared with the header: where
    somebody else has logged in since, in the same browser, the hub logs out who was there before.
    """

    auto_login = True
    auth_refresh_age = 1

    def get_handlers(self, app):
        return [("/login", RemoteUserLoginHandler)]

    async def authenticate(self, handler, data=None):
        names = handler.request.headers.get_list("REMOTE_USER")
        if len(names) != 1:
            return None
        return names[0].encode("latin-1").decode("utf-8")  # Tornado reads Latin-1

    async def refresh_user(self, user, handler=None):
        if handler is None or "REMOTE_USER" not in handler.request.headers:
            return True  # not by way of the edge: a notebook server, with a token
        name = await self.authenticate(handler)
        return name is not None and self.normalize_username(name) == user.name
