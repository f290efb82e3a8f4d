"""One of the hubs behind the edge. Which one, the environment says: HUB_STATE is its directory, and it
has three ports on the loopback: HUB_PORT, to which the edge sends its users, HUB_API_PORT and
HUB_PROXY_API_PORT for its own parts.

Two hubs must share none of these: database, cookie secret, proxy's pid file, ports.
"""

import os
import sys
from pathlib import Path

import jupyterhub

sys.path.insert(0, str(Path(__file__).parent))
from remote_user import RemoteUserAuthenticator  # noqa: E402

c = get_config()  # noqa: F821

state = Path(os.environ["HUB_STATE"])

c.JupyterHub.bind_url = f"http://127.0.0.1:{os.environ['HUB_PORT']}"
c.JupyterHub.hub_bind_url = f"http://127.0.0.1:{os.environ['HUB_API_PORT']}"
c.JupyterHub.db_url = f"sqlite:///{state}/jupyterhub.sqlite"
c.JupyterHub.cookie_secret_file = f"{state}/cookie_secret"
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{os.environ['HUB_PROXY_API_PORT']}"
c.ConfigurableHTTPProxy.pid_file = f"{state}/proxy.pid"
# npm's, for the one in Debian does not start on every Node.
c.ConfigurableHTTPProxy.command = os.environ["HUB_PROXY_COMMAND"].split()

# The edge knows the user.
c.JupyterHub.authenticator_class = RemoteUserAuthenticator
if jupyterhub.version_info[0] >= 5:
    c.Authenticator.allow_all = True

# For a laptop: everyone's notebooks run as the same person, in a directory each.
c.JupyterHub.spawner_class = "simple"
c.SimpleLocalProcessSpawner.home_dir_template = f"{state}/home/{{username}}"
c.Spawner.http_timeout = 120  # it may be slow
c.Spawner.args = ["--allow-root"] if os.getuid() == 0 else []
