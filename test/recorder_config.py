"""A hub of examples/jupyterhub in which brian is after others: his server keeps every header it sees."""

import os
import sys
from pathlib import Path

c = get_config()  # noqa: F821
load_subconfig(os.environ["EXAMPLE_CONFIG"])  # noqa: F821

RECORDER = str(Path(__file__).with_name("recorder.py"))


async def pre_spawn_hook(spawner):
    if spawner.user.name == "brian":
        spawner.cmd = [sys.executable, RECORDER]
        spawner.args = []
        spawner.environment = {"RECORD": os.environ["RECORD"]}


c.Spawner.pre_spawn_hook = pre_spawn_hook
