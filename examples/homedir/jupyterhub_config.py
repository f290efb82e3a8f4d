"""Home directories spread over file servers, by the kind `homedir`: before a user's notebook server
starts, the hub asks the Sharder on which file server the home is. The first time, that is the emptiest;
from then on it is the same for ever.

The first half is for your own jupyterhub_config.py. It needs nothing but Python's standard library. In
sharder.yml:

    kinds:
      homedir:
        buckets: [files-0, files-1]

Each of them is mounted below $HOMES (/srv/homes/files-0, ...), and the hub's address must be one of the
Sharder's trusted_proxies.
"""

import asyncio
import os
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

SHARDER = os.environ.get("SHARDER_URL", "http://127.0.0.1:8888")
HOMES = Path(os.environ.get("HOMES", "/srv/homes"))

c = get_config()  # noqa: F821


def file_server(user, tries=3):
    """The bucket of kind `homedir` that the user is in."""
    # urllib writes Latin-1; the Sharder reads UTF-8.
    name = user.encode("utf-8").decode("latin-1")
    request = Request(f"{SHARDER}/shard/homedir", headers={"REMOTE_USER": name})
    try:
        with urlopen(request, timeout=10) as response:
            return response.read().decode().strip()
    except HTTPError as error:
        if error.code != 503 or tries == 1:
            raise RuntimeError(error.read().decode().strip()) from error
        time.sleep(float(error.headers.get("Retry-After", 1)))
        return file_server(user, tries - 1)


async def pre_spawn_hook(spawner):
    user = spawner.user.name
    # In a thread: the hub answers others meanwhile.
    loop = asyncio.get_running_loop()
    home = HOMES / await loop.run_in_executor(None, file_server, user) / user
    # With DockerSpawner: spawner.volumes = {str(home): "/home/jovyan"}
    # With KubeSpawner, a volume for each file server, and of it the user's directory: volume_mounts.
    spawner.home_dir = str(home)


c.Spawner.pre_spawn_hook = pre_spawn_hook

# The rest is the hub of the other example.
load_subconfig(str(Path(__file__).parents[1] / "jupyterhub" / "jupyterhub_config.py"))  # noqa: F821
