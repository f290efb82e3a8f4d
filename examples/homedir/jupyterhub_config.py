"""Home directories spread over file servers, by the kind `homedir`. Before a user's notebook server starts,
the hub asks the Sharder which file server has the home. The first time that is the emptiest one; the answer
stays the same until somebody moves the user.

The first half is for your own jupyterhub_config.py. It needs nothing but Python's standard library. In
sharder.yml:

    kinds:
      homedir:
        buckets: [files-0, files-1]

Each of them is mounted below $HOMES (/srv/homes/files-0, ...). The hub needs a token that can do nothing but
find and assign objects of this kind. In the environment of the Sharder:

    SHARDER_ADMIN_TOKEN="ops=...,homes:assign@homedir=$(openssl rand -hex 32)"

The hub has what stands after the first `=` in SHARDER_TOKEN, or in the file that SHARDER_TOKEN_FILE names.
"""

import asyncio
import json
import os
import time
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

SHARDER = os.environ.get("SHARDER_URL", "http://127.0.0.1:8888")
HOMES = Path(os.environ.get("HOMES", "/srv/homes"))

c = get_config()  # noqa: F821


def read_token():
    file = os.environ.get("SHARDER_TOKEN_FILE")
    token = Path(file).read_text() if file else os.environ.get("SHARDER_TOKEN", "")
    if not token.strip():
        raise RuntimeError("set SHARDER_TOKEN, or SHARDER_TOKEN_FILE, to a token of scope assign")
    return token.strip()


TOKEN = read_token()


def one_directory(name):
    """The name, if it is the name of one directory. Anything else would lead out of HOMES."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name:
        raise ValueError(f"{name!r} cannot be the name of a directory: no home is made for it")
    return name


def file_server(user, tries=3):
    """The bucket of kind `homedir` that the user is in."""
    request = Request(
        f"{SHARDER}/v1/kinds/homedir/objects/{quote(user, safe='')}",
        method="PUT",
        headers={"Authorization": f"Bearer {TOKEN}"},
    )
    try:
        with urlopen(request, timeout=10) as response:
            return json.load(response)["bucket"]
    except HTTPError as error:
        if error.code != 503 or tries == 1:
            raise RuntimeError(error.read().decode().strip()) from error
        time.sleep(float(error.headers.get("Retry-After", 1)))
        return file_server(user, tries - 1)


def home_of(user):
    """The user's home directory, one level below a file server's."""
    one_directory(user)
    return HOMES / one_directory(file_server(user)) / user


async def pre_spawn_hook(spawner):
    # In a thread: the hub answers others meanwhile.
    loop = asyncio.get_running_loop()
    home = await loop.run_in_executor(None, home_of, spawner.user.name)
    # With DockerSpawner: spawner.volumes = {str(home): "/home/jovyan"}
    # With KubeSpawner, a volume for each file server, and of it the user's directory: volume_mounts.
    spawner.home_dir = str(home)


c.Spawner.pre_spawn_hook = pre_spawn_hook

# The rest is the hub of the other example.
load_subconfig(str(Path(__file__).parents[1] / "jupyterhub" / "jupyterhub_config.py"))  # noqa: F821
