"""Judges the vectors of call-vectors.json with the verifier of examples/shard-server. Prints a line for each
one that is judged otherwise than it says, then how many there were."""

import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1] / "examples" / "shard-server"))

from call_verifier import CallVerifier, sign  # noqa: E402

vectors = json.loads((HERE / "call-vectors.json").read_text(encoding="utf-8"))
for each in vectors:
    calls = CallVerifier(now=lambda each=each: each["now"])
    calls.lease(each["held"], each["secret"])
    names = ("timestamp", "epoch", "signature")
    headers = {f"X-Shard-{name.capitalize()}": each[name] for name in names}
    call = (each["method"], each["path"], headers, each["body"].encode())
    why = calls.refusal(*call)
    if (why is None) != each["isGenuine"]:
        print(f"{each['title']}: {why}")
    if each["isGenuine"]:
        signed = [each[name] for name in ("secret", "timestamp", "epoch", "method", "path")]
        if sign(*signed, each["body"].encode()) != each["signature"]:
            print(f"{each['title']}: signed otherwise")
        if calls.refusal(*call) != "the call is a replay":
            print(f"{each['title']}: taken twice")
print(len(vectors))
